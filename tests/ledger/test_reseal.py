"""Rotation of keys: what the ledger has sealed moves under the newest one, beside payments and after a kill."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import psycopg
import pytest

from autopay.adapters.postgres.maintenance.reseal import COLUMNS, SealedColumn, SealedColumns
from autopay.adapters.vault import Keyring, Vault
from autopay.uuid7 import uuid7
from tests.ledger.books import Book, signed_payment, spec_of

STARTER = Path(__file__).parents[2] / "starter.py"
OLD = Keyring.generate()
NEW = OLD.with_new_key()
PATIENCE_S = 60


@pytest.fixture
def sealed(book: Book) -> SealedColumns:
    """The sealed columns of the book's ledger."""
    return book.ledger.sealed


async def filled(book: Book, payments: int) -> None:
    """Requests with secrets and their payments, and the session's key, all under the old key."""
    vault = Vault(OLD)
    for number in range(payments):
        key = book.key(f"r{number}")
        extras = vault.seal(f"extras {number}".encode(), purpose="request-extras", row=key)
        assert (
            await book.ledger.requests.accept(book.agent, spec_of(f"r{number}", sealed_extras=extras), 1.0, 10_000)
            is None
        )
        await book.ledger.requests.begin(key)
        payment = vault.seal(f"payment {number}".encode(), purpose="payment", row=f"{key}/1")
        await book.ledger.payments.record_attempt(key, 1, book.session_id, signed_payment(100, sealed=payment))
    session_key = vault.seal(b"session key", purpose="session-key", row=str(book.session_id))
    with psycopg.connect(
        book.ledger.database.engine.url.render_as_string(hide_password=False).replace("+psycopg", "")
    ) as db:
        db.execute("SET session_replication_role = replica")
        db.execute("UPDATE sessions SET session_token = %s", [session_key])


async def walked(sealed: SealedColumns, column: SealedColumn, keyring: Keyring, batch: int = 200) -> int:
    return sum([each.resealed async for each in sealed.reseal(column, Vault(keyring), batch)])


async def test_everything_moves_under_the_newest_key_and_opens_without_the_old_one(
    book: Book, sealed: SealedColumns, database_url: str
) -> None:
    await filled(book, 5)
    hook = uuid7()
    secret = Vault(OLD).seal(b"whsec_x", purpose="webhook-secret", row=str(hook))
    await book.ledger.webhooks.add(hook, "https://ops.example.com/", ["*"], secret)
    with psycopg.connect(database_url) as db:
        before = db.execute("SELECT updated_at FROM transactions ORDER BY id").fetchall()
    assert [await walked(sealed, column, NEW, batch=2) for column in COLUMNS] == [1, 5, 5, 1, 0]
    assert [await sealed.key_versions(column) for column in COLUMNS] == [
        *({"v2": 1}, {"v2": 5}, {"v2": 5}),
        *({"v2": 1}, {}),
    ]
    assert [await walked(sealed, column, NEW) for column in COLUMNS] == [0, 0, 0, 0, 0]
    root, _, newest = NEW.dump().split(",")
    vault, key = Vault(Keyring.parse(f"{root},{newest}")), book.key("r3")
    attempt = await book.ledger.payments.attempt(key, 1)
    extras = (await book.ledger.requests.get(key)).spec.sealed_extras
    assert attempt is not None
    assert extras is not None
    assert vault.open(attempt.sealed, purpose="payment", row=f"{key}/1") == b"payment 3"
    assert vault.open(extras, purpose="request-extras", row=key) == b"extras 3"
    signing = await book.ledger.webhooks.signing(hook)
    assert signing is not None
    assert vault.open(signing.sealed_secrets[0], purpose="webhook-secret", row=str(hook)) == b"whsec_x"
    with psycopg.connect(database_url) as db:
        token = db.execute("SELECT session_token FROM sessions").fetchall()[0][0]
        assert db.execute("SELECT updated_at FROM transactions ORDER BY id").fetchall() == before
    assert vault.open(token, purpose="session-key", row=str(book.session_id)) == b"session key"


async def test_a_destroyed_key_stays_destroyed(book: Book, sealed: SealedColumns) -> None:
    await filled(book, 0)
    assert await book.ledger.sessions.end(book.session_id)
    assert await walked(sealed, COLUMNS[0], NEW) == 0
    assert await sealed.key_versions(COLUMNS[0]) == {}


async def test_what_somebody_holds_is_passed_by_and_done_the_next_time(
    book: Book, sealed: SealedColumns, database_url: str
) -> None:
    await filled(book, 3)
    with psycopg.connect(database_url) as holder:
        holder.execute("SELECT FROM transactions WHERE x402_request_id = %s FOR UPDATE", [book.key("r1")])
        assert await walked(sealed, COLUMNS[1], NEW) == 2
    assert await walked(sealed, COLUMNS[1], NEW) == 1


async def test_what_no_key_opens_is_named_and_left_as_it_is(book: Book, sealed: SealedColumns) -> None:
    await filled(book, 3)
    stranger = Keyring.generate().with_new_key()
    batches = [each async for each in sealed.reseal(COLUMNS[1], Vault(stranger), 2)]
    assert [(each.resealed, len(each.unreadable)) for each in batches] == [(0, 2), (0, 1)]
    assert await sealed.key_versions(COLUMNS[1]) == {"v1": 3}


async def rotate(database_url: str, *arguments: str, kill_after: bytes | None = None) -> tuple[int, str, str]:
    """Run the command, killed once its progress says `kill_after`; exit code, stdout, stderr."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(STARTER),
        "vault",
        "rotate",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"AUTOPAY_DATABASE_URL": database_url, "AUTOPAY_KEYRING": NEW.dump()},
    )
    async with asyncio.timeout(PATIENCE_S):
        if kill_after is not None:
            assert process.stderr is not None
            await process.stderr.readuntil(kill_after)
            process.send_signal(signal.SIGKILL)
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def many_rows(book: Book, database_url: str, count: int) -> None:
    """Copies of one request, each with extras of its own, faster than one by one."""
    await filled(book, 1)
    vault = Vault(OLD)
    with psycopg.connect(database_url) as db:
        db.execute("SET session_replication_role = replica")
        for number in range(count):
            extras = vault.seal(b"extras", purpose="request-extras", row=f"key-{number}")
            db.execute(
                "INSERT INTO api_request_logs (id, agent_id, endpoint, method, request_id, x402_request_id, url, "
                "terms_hash, sealed_extras) SELECT gen_random_uuid(), agent_id, endpoint, method, %s, %s, url, "
                "terms_hash, %s FROM api_request_logs LIMIT 1",
                [f"copy-{number}", f"key-{number}", extras],
            )


async def test_a_rotation_killed_in_the_middle_goes_on_where_it_was(
    book: Book, sealed: SealedColumns, database_url: str
) -> None:
    await many_rows(book, database_url, 3_000)
    killed, _, _ = await rotate(database_url, kill_after=b"headers and bodies: 400 encrypted again")
    assert killed == -signal.SIGKILL
    half = await sealed.key_versions(COLUMNS[2])
    assert half["v1"] + half["v2"] == 3_001
    assert 400 <= half["v2"] < 3_001
    code, out, _ = await rotate(database_url, "--json")
    report = json.loads(out)
    assert code == 0
    assert report["resealed"]["headers and bodies"] == half["v1"]
    assert (report["remaining"], report["newest"], report["unused_in_ledger"]) == (0, 2, [1])
    vault = Vault(NEW)
    with psycopg.connect(database_url) as db:
        for key, extras in db.execute("SELECT x402_request_id, sealed_extras FROM api_request_logs").fetchall():
            assert vault.open(extras, purpose="request-extras", row=key).startswith(b"extras")


async def test_the_command_says_what_is_left_and_when_the_old_key_may_go(database_url: str, book: Book) -> None:
    await filled(book, 2)
    code, out, err = await rotate(database_url)
    assert (code, "payments: 2 encrypted again" in err) == (0, True)
    assert "payments: 2 encrypted again; now 2 with v2" in out
    assert "The ledger no longer needs version 1." in out
    assert "retention" in out


async def test_what_cannot_be_opened_remains_and_the_command_fails(database_url: str, book: Book) -> None:
    await filled(book, 2)
    with psycopg.connect(database_url) as db:
        db.execute("SET session_replication_role = replica")
        db.execute("UPDATE transactions SET sealed_payment = 'v7.' || sealed_payment")
    code, out, err = await rotate(database_url, "--json")
    report = json.loads(out)
    assert (code, report["remaining"], len(report["unreadable"]["payments"])) == (1, 2, 2)
    assert "Traceback" not in err
