"""Backups are whole or not there, and a restored ledger is fenced before anybody can see it."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from autopay.adapters.postgres import open_ledger
from autopay.adapters.postgres.maintenance import migrations
from autopay.adapters.postgres.maintenance.backup import BackupUnreadable, back_up
from autopay.adapters.postgres.maintenance.restore import leftovers, restore_database, restore_file
from autopay.adapters.postgres.maintenance.roles import Role, apply_rights, make_roles
from autopay.adapters.postgres.maintenance.server import MAINTENANCE, ProgramFailed, RightsMissing, Server, quoted
from autopay.domain.errors import LedgerFenced, LedgerUnavailable
from localnet.postgres.server import EmbeddedPostgres
from tests.ledger.books import Book, signed_payment
from tests.ledger.proofs import busy, findings, rows
from tests.ledger.test_migrations import execute
from tests.stack.up import STARTER, clean_environment

EVENTS = "SELECT payload FROM audit_events ORDER BY xid, id"


def quiet(_: str) -> None:
    """Tells nobody."""


@pytest.fixture
def server(database_url: str) -> Iterator[Server]:
    """The server; what restores leave there is dropped."""
    server = Server(database_url)
    yield server
    with server.connected(MAINTENANCE) as db:
        for name in server.databases():
            if name.startswith(f"{server.name}_"):
                db.execute(quoted("DROP DATABASE {} WITH (FORCE)", name))


def lose(server: Server) -> None:
    with server.connected(MAINTENANCE) as db:
        db.execute(quoted("DROP DATABASE {} WITH (FORCE)", server.name))


async def test_a_backup_is_complete_and_its_owners_only(book: Book, server: Server, tmp_path: Path) -> None:
    await busy(book)
    found = back_up(server, tmp_path / "new" / "ledger.dump")
    assert (found.events, found.chains) == rows(
        server.url(), "SELECT (SELECT count(*) FROM audit_events), (SELECT count(*) FROM audit_heads)"
    )[0]
    assert (found.file.stat().st_mode & 0o777, found.file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert os.listdir(found.file.parent) == ["ledger.dump"]


def test_a_backup_that_fails_has_no_name(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailable):
        back_up(Server(postgres.url("nowhere")), tmp_path / "ledger.dump")
    assert os.listdir(tmp_path) == []


async def test_a_lost_ledger_is_restored_whole_behind_a_fence(book: Book, server: Server, tmp_path: Path) -> None:
    await busy(book)
    key = await book.accepted("held")
    before = rows(server.url(), EVENTS)
    backup = back_up(server, tmp_path / "ledger.dump")
    await book.recorded(await book.accepted("forgotten"))
    await book.ledger.dispose()
    lose(server)
    restored = restore_file(server, backup.file, quiet)
    assert (restored.kept_as, restored.events, restored.leftovers) == (None, backup.events, ())
    assert restored.fence.startswith(f"restored from ledger.dump, a backup of {backup.taken_at:%F %H}:")
    assert rows(server.url(), EVENTS)[: len(before)] == before
    assert await findings(server.url()) == []
    with pytest.raises(LedgerFenced, match="a backup of"):
        await book.reserve(key)
    await book.ledger.fence.lift("reconciled")
    await book.recorded(key)
    assert await findings(server.url()) == []


async def test_events_of_a_server_that_counted_further_are_in_the_past_and_in_order(
    book: Book, server: Server, tmp_path: Path
) -> None:
    await busy(book)
    with psycopg.connect(server.url(), autocommit=True) as db:
        db.execute("SET session_replication_role = replica")
        db.execute("UPDATE audit_events SET xid = xid + 1000000000")
    backup = back_up(server, tmp_path / "ledger.dump")
    restore_file(server, backup.file, quiet)
    await book.accepted("later")
    below = "SELECT id FROM audit_events WHERE xid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint ORDER BY "
    found = rows(server.url(), below + "xid, id")
    assert len(found) > backup.events
    assert found == rows(server.url(), below + "id")
    triggers = "SELECT count(*) FROM pg_trigger WHERE tgenabled = 'D'"
    assert rows(server.url(), triggers) == [(0,)]


async def test_the_fence_of_the_backup_gives_way_to_a_new_one(book: Book, server: Server, tmp_path: Path) -> None:
    await book.ledger.fence.set("of another time")
    await book.ledger.fence.note_height(7)
    backup = back_up(server, tmp_path / "ledger.dump")
    restore_file(server, backup.file, quiet)
    fence = await book.ledger.fence.current()
    assert fence is not None
    assert (fence.reason.partition(" ")[0], fence.height) == ("restored", None)


async def test_the_ledger_of_before_is_kept_and_who_was_connected_comes_back(
    book: Book, server: Server, tmp_path: Path
) -> None:
    backup = back_up(server, tmp_path / "ledger.dump")
    key = await book.accepted("later")
    going_on = asyncio.create_task(_asks_all_the_time(book))
    restored = await asyncio.to_thread(restore_file, server, backup.file, quiet)
    assert restored.kept_as is not None
    await asyncio.wait_for(going_on, 30)
    assert rows(server.url(restored.kept_as), "SELECT x402_request_id FROM api_request_logs") == [(key,)]
    assert rows(server.url(), "SELECT x402_request_id FROM api_request_logs") == []


async def _asks_all_the_time(book: Book) -> None:
    """As workers do, until it sees the restored ledger; whatever it sees has all tables and, once new, a fence."""
    while True:
        try:
            if await book.ledger.fence.current() is not None:
                return
        except LedgerUnavailable:
            pass


async def test_a_backup_of_an_older_schema_is_brought_to_this_one(server: Server, tmp_path: Path) -> None:
    migrations.downgrade(server.url(), "0005_policy")
    backup = back_up(server, tmp_path / "ledger.dump")
    assert (backup.events, backup.chains) == (0, 0)
    restore_file(server, backup.file, quiet)
    assert migrations.current(server.url()) == migrations.head()
    ledger = open_ledger(server.url())
    assert await ledger.fence.current() is not None
    await ledger.dispose()


async def test_what_is_no_backup_changes_nothing(book: Book, server: Server, tmp_path: Path) -> None:
    backup = back_up(server, tmp_path / "ledger.dump")
    (tmp_path / "text").write_text("no dump")
    (tmp_path / "cut").write_bytes(backup.file.read_bytes()[:-100])
    with pytest.raises(BackupUnreadable):
        restore_file(server, tmp_path / "text", quiet)
    with pytest.raises(ProgramFailed):
        restore_file(server, tmp_path / "cut", quiet)
    assert leftovers(server) == ()
    assert await book.ledger.fence.current() is None


async def test_a_schema_of_a_newer_version_changes_nothing(book: Book, server: Server, tmp_path: Path) -> None:
    execute(server.url(), "UPDATE alembic_version SET version_num = '9999_later'")
    backup = back_up(server, tmp_path / "ledger.dump")
    with pytest.raises(BackupUnreadable, match="9999_later"):
        restore_file(server, backup.file, quiet)
    assert leftovers(server) == ()
    assert await book.ledger.fence.current() is None


async def test_who_may_not_make_databases_is_told_so(
    book: Book, server: Server, postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    make_roles(server, {})
    apply_rights(server)
    backup = back_up(server, tmp_path / "ledger.dump")
    with pytest.raises(RightsMissing, match="permission denied to create database"):
        restore_file(Server(postgres.url(server.name, Role.WORK)), backup.file, quiet)
    assert await book.ledger.fence.current() is None


async def test_the_owner_restores_without_a_superuser_and_workers_go_on(
    book: Book, server: Server, postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    make_roles(server, {})
    apply_rights(server)
    await book.ledger.dispose()
    owner = Server(postgres.url(server.name, Role.MIGRATE))
    backup = back_up(owner, tmp_path / "ledger.dump")
    worker = open_ledger(postgres.url(server.name, Role.WORK))
    key = await Book(worker, book.agent, book.session_id).accepted("forgotten")
    assert restore_file(owner, backup.file, quiet).kept_as is not None
    key = await Book(worker, book.agent, book.session_id).accepted("held")
    with pytest.raises(LedgerFenced):
        await worker.payments.record_attempt(key, 1, book.session_id, signed_payment())
    await worker.dispose()


async def test_a_database_that_was_restored_by_other_means_is_fenced_and_takes_the_name(
    book: Book, server: Server
) -> None:
    await book.ledger.dispose()
    copy = f"{server.name}_copy"
    with server.connected(MAINTENANCE) as db:
        db.execute(quoted("CREATE DATABASE {} TEMPLATE {}", copy, server.name))
    restored = restore_database(server, copy, quiet)
    assert copy not in server.databases()
    assert restored.kept_as in server.databases()
    assert await book.ledger.fence.current() is not None


@pytest.mark.parametrize("words", ["into the database", "raising the fence", "becomes"])
async def test_a_restore_that_is_killed_leaves_a_ledger_and_can_be_run_again(
    book: Book, server: Server, tmp_path: Path, words: str
) -> None:
    key = await book.accepted("kept")
    backup = back_up(server, tmp_path / "ledger.dump")
    _killed_after(words, server, "restore", str(backup.file), "--yes", "--home", str(tmp_path))
    await _answers(book)
    was_swapped = any(name.startswith(f"{server.name}_before_") for name in server.databases())
    assert (await book.ledger.fence.current() is not None) == was_swapped
    assert not (await book.ledger.requests.get(key)).closed
    restored = restore_file(server, backup.file, quiet)
    assert bool(restored.leftovers) != was_swapped
    await _answers(book)
    assert await book.ledger.fence.current() is not None
    assert await findings(server.url()) == []


def _killed_after(words: str, server: Server, *arguments: str) -> None:
    """Run a command, and kill it as soon as it says that."""
    environment = clean_environment() | {"AUTOPAY_DATABASE_URL": server.url()}
    command = [sys.executable, str(STARTER), *arguments]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        assert process.stderr is not None
        assert any(words in line.decode() for line in process.stderr)
        process.kill()


async def _answers(book: Book) -> None:
    """Wait until the server is done with what the killed command had begun."""
    deadline = time.monotonic() + 30
    while True:
        try:
            await book.ledger.maintenance.check_schema()
        except LedgerUnavailable:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        else:
            return


def test_the_password_is_never_an_argument(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "pg_dump"
    program.write_text('#!/bin/sh\necho "pg_dump (PostgreSQL) 18.0"; echo "$@" "and $PGPASSWORD"\n')
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with_password = Server(server.url().replace("autopay@", "autopay:very%20secret@"))
    said = with_password.run("pg_dump", "--format=custom")
    arguments, _, password = said.partition(" and ")
    assert password.strip() == "very secret"
    assert "secret" not in arguments
