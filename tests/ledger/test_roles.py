"""What each of the database's roles may do, tried as that role: refused by the database, not by the program."""

from collections.abc import AsyncIterator
from typing import LiteralString
from uuid import uuid4

import psycopg
import pytest

from autopay.adapters.postgres import PostgresLedger, open_ledger
from autopay.adapters.postgres.maintenance import migrations
from autopay.adapters.postgres.maintenance.roles import (
    SEALED,
    WORK,
    Role,
    apply_rights,
    make_roles,
    may_alter_history,
    missing_roles,
)
from autopay.adapters.postgres.maintenance.server import RightsMissing, Server
from autopay.adapters.vault import Keyring
from autopay.cli import app
from autopay.domain.errors import LedgerFenced, LedgerForbids
from autopay.domain.request import RequestStatus
from autopay.domain.session import NewSession, OwnerTransaction
from localnet.postgres.server import EmbeddedPostgres
from tests.ledger.books import Book, open_book
from tests.ledger.proofs import busy, findings, rows
from tests.ledger.test_migrations import execute


@pytest.fixture
def server(database_url: str) -> Server:
    """A ledger whose roles have their rights."""
    server = Server(database_url)
    make_roles(server, {})
    assert apply_rights(server)
    return server


def url_of(postgres: EmbeddedPostgres, server: Server, role: Role) -> str:
    return postgres.url(server.name, role)


@pytest.fixture
def work_url(postgres: EmbeddedPostgres, server: Server) -> str:
    return url_of(postgres, server, Role.WORK)


@pytest.fixture
async def worker(work_url: str) -> AsyncIterator[PostgresLedger]:
    """The ledger as workers have it."""
    ledger = open_ledger(work_url)
    yield ledger
    await ledger.dispose()


async def test_a_worker_does_all_that_payments_need(book: Book, worker: PostgresLedger, database_url: str) -> None:
    working = Book(worker, book.agent, book.session_id)
    await worker.maintenance.check_schema()
    paid = await working.recorded(await working.accepted("paid"))
    await working.delivered(paid)
    await working.settled(paid)
    await working.end(paid.request_key, RequestStatus.DELIVERED)
    dead = await working.recorded(await working.accepted("dead"))
    await worker.payments.record_sending(dead.attempt_id)
    await worker.payments.record_sending(dead.attempt_id)
    await worker.payments.record_dead(dead.attempt_id, "expired_unsettled")
    await worker.fence.set("the chain knows more")
    with pytest.raises(LedgerFenced):
        await working.reserve(await working.accepted())
    assert await worker.requests.unfinished(older_than_s=0, after=None, limit=10) != []
    assert await findings(database_url) == []


REFUSED: list[LiteralString] = [
    "DELETE FROM transactions",
    "DELETE FROM api_request_logs",
    "DELETE FROM sessions",
    "DELETE FROM agents",
    "DELETE FROM priority_queue",
    "TRUNCATE balance_snapshots",
    "TRUNCATE transactions CASCADE",
    "UPDATE transactions SET amount = 0",
    "UPDATE transactions SET sealed_payment = NULL",
    "UPDATE api_request_logs SET url = 'https://x'",
    "UPDATE sessions SET scope = '{}'",
    "UPDATE sessions SET allowance = 1000000",
    "UPDATE agents SET wallet_address = 'me'",
    "INSERT INTO sessions SELECT * FROM sessions",
    "INSERT INTO policies (id, policy) VALUES (gen_random_uuid(), '{}')",
    "UPDATE counterparties SET pay_to = 'me'",
    "UPDATE fences SET lifted_at = now()",
    "INSERT INTO fences (id, reason, lifted_at) VALUES (gen_random_uuid(), 'x', now())",
    "INSERT INTO audit_events OVERRIDING SYSTEM VALUE SELECT * FROM audit_events",
    "UPDATE audit_events SET payload = ''",
    "DELETE FROM audit_events",
    "UPDATE audit_heads SET seq = 0",
    "INSERT INTO audit_heads VALUES (gen_random_uuid(), 1, '')",
    "DELETE FROM audit_anchors",
    "UPDATE session_usage SET spent = 0",
    "INSERT INTO day_usage SELECT agent_id, day - 1, host, -1, -1 FROM day_usage",
    "DELETE FROM day_usage",
    "TRUNCATE session_usage",
    "SELECT recount_usage()",
    "UPDATE alembic_version SET version_num = 'x'",
    "ALTER TABLE transactions DISABLE TRIGGER ALL",
    "ALTER TABLE audit_events DISABLE TRIGGER append_only",
    "SET session_replication_role = replica",
    "DROP TABLE balance_snapshots",
    "DROP TRIGGER append_only ON audit_events",
    "CREATE OR REPLACE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "CREATE TABLE mine (n int)",
    "CREATE TEMPORARY TABLE transactions (n int)",
    "SET ROLE autopay_migrate",
    "CREATE ROLE mighty SUPERUSER",
    "ALTER ROLE autopay_work CREATEDB",
]


async def test_a_worker_can_rewrite_nothing(book: Book, work_url: str) -> None:
    await busy(book)
    for statement in REFUSED:
        with psycopg.connect(work_url, autocommit=True) as db, pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.execute(statement)


async def test_what_a_role_may_not_do_is_a_named_fault(book: Book, work_url: str) -> None:
    await book.ledger.keys.refuse_or_register(Keyring.generate())
    ledger = open_ledger(work_url)
    with pytest.raises(LedgerForbids, match="permission denied for table key_checks"):
        await ledger.keys.forget(1)
    await ledger.dispose()


async def test_a_worker_and_a_server_of_the_api_in_its_role_grant_no_session(
    book: Book, worker: PostgresLedger
) -> None:
    (granted,) = await book.ledger.sessions.list()
    asked = OwnerTransaction(does="revoke", message="AAAA", last_valid_block_height=1)
    new = NewSession(
        session_id=uuid4(),
        agent=granted.agent,
        currency=granted.currency,
        mint=granted.mint,
        source_account=granted.source_account,
        owner=granted.owner,
        authority=granted.authority,
        sealed_key="sealed",
        allowance_atomic=1,
        tx_limit=1,
        duration_s=60,
        owner_transaction=asked,
    )
    with pytest.raises(LedgerForbids, match="sessions"):
        await worker.sessions.create(new)
    with pytest.raises(LedgerForbids, match="sessions"):
        await worker.sessions.await_owner(granted.session_id, asked)
    assert await worker.sessions.list() == [granted]


async def test_writers_of_events_and_counters_cannot_be_put_on_another_table(
    book: Book, server: Server, work_url: str
) -> None:
    await busy(book)
    execute(server.url(), "GRANT CREATE ON SCHEMA public TO autopay_work")
    with psycopg.connect(work_url, autocommit=True) as db:
        db.execute("CREATE TABLE forged (id uuid, agent_id uuid)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.execute("CREATE TRIGGER t AFTER INSERT ON forged FOR EACH ROW EXECUTE FUNCTION audit_write()")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.execute("CREATE TRIGGER t AFTER INSERT ON forged FOR EACH ROW EXECUTE FUNCTION move_usage()")
        db.execute("DROP TABLE forged")


async def test_a_reader_sees_all_but_what_is_sealed(book: Book, server: Server, postgres: EmbeddedPostgres) -> None:
    await busy(book)
    url = url_of(postgres, server, Role.READ)
    told = {
        (table, column)
        for table, column in rows(
            server.url(), "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
        )
    }
    with psycopg.connect(url, autocommit=True) as db:
        for table, column in told:
            query = psycopg.sql.SQL("SELECT {} FROM {}").format(*map(psycopg.sql.Identifier, (column, table)))
            if column in SEALED:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    db.execute(query)
            else:
                db.execute(query)
        for statement in REFUSED:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                db.execute(statement)
    assert {column for _, column in told} >= SEALED


async def test_only_who_owns_the_tables_may_alter_history(
    server: Server, postgres: EmbeddedPostgres, worker: PostgresLedger
) -> None:
    assert not await may_alter_history(worker.database.engine)
    for url in (server.url(), url_of(postgres, server, Role.MIGRATE)):
        owner = open_ledger(url)
        assert await may_alter_history(owner.database.engine)
        await owner.dispose()


def test_every_column_that_a_worker_changes_is_there(server: Server) -> None:
    there = rows(server.url(), "SELECT table_name || '.' || column_name FROM information_schema.columns")
    named = {f"{table}.{column}" for table, may in WORK.items() for column in f"{may.insert} {may.update}".split()} - {
        f"{table}.*" for table in WORK
    }
    assert named <= {row[0] for row in there}


def test_rights_are_the_same_when_they_are_given_again(server: Server) -> None:
    granted = "SELECT relname, relacl::text FROM pg_class WHERE relacl IS NOT NULL ORDER BY relname"
    columns = "SELECT attrelid::regclass::text, attname, attacl::text FROM pg_attribute WHERE attacl IS NOT NULL"
    before = rows(server.url(), granted), sorted(rows(server.url(), columns))
    execute(server.url(), "GRANT DELETE ON transactions TO autopay_work")
    assert make_roles(server, {}) == []
    assert apply_rights(server)
    assert (rows(server.url(), granted), sorted(rows(server.url(), columns))) == before


def test_the_owner_migrates_down_and_up_and_the_rights_come_back(server: Server, postgres: EmbeddedPostgres) -> None:
    url = url_of(postgres, server, Role.MIGRATE)
    migrations.downgrade(url, "0005_policy")
    assert apply_rights(Server(url))
    assert app.run(["db", "upgrade", "--help"]) == 0
    migrations.upgrade(url)
    assert apply_rights(Server(url))
    owners = "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    assert rows(server.url(), owners) == [(Role.MIGRATE,)]


async def test_who_may_not_make_roles_is_told_so(work_url: str) -> None:
    with pytest.raises(RightsMissing, match="permission denied to create role"):
        _without_a_role(work_url)


def _without_a_role(work_url: str) -> None:
    server = Server(work_url)
    assert missing_roles(server) == []
    with server.connected() as db:
        db.execute("CREATE ROLE another")


async def test_the_command_makes_passwords_for_new_roles_only(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AUTOPAY_DATABASE_URL", database_url)
    make_roles(Server(database_url), {})
    assert app.run(["db", "roles", "--work-password", "secret of the worker", "--json"]) == 0
    out = capsys.readouterr().out
    assert '"role": "autopay_work", "made": false, "password": "secret of the worker"' in out
    assert '"role": "autopay_read", "made": false, "password": null' in out
    (verifier,) = rows(database_url, "SELECT rolpassword FROM pg_authid WHERE rolname = 'autopay_work'")[0]
    assert verifier.startswith("SCRAM-SHA-256$")


def test_a_role_that_was_made_too_mighty_is_put_in_its_place(server: Server) -> None:
    execute(server.url(), "ALTER ROLE autopay_work SUPERUSER CREATEROLE")
    make_roles(server, {})
    (mighty,) = rows(server.url(), "SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = 'autopay_work'")[0]
    assert not mighty


async def test_what_an_agent_asks_works_too(book: Book, worker: PostgresLedger) -> None:
    working = await open_book(book.ledger, "asks")
    assert (await worker.requests.backlog("asks")).queue == ()
    await Book(worker, "asks", working.session_id).accepted("one")
    assert len((await worker.requests.backlog("asks")).open) == 1
