"""The schema, revision by revision: up, down and up again on a database with rows, and equal to the models."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from psycopg.rows import dict_row
from sqlalchemy import CheckConstraint, Enum, create_engine
from sqlalchemy.exc import IntegrityError

from autopay.adapters.postgres import open_ledger
from autopay.adapters.postgres.database.connection import engine_url
from autopay.adapters.postgres.maintenance import migrations
from autopay.adapters.postgres.tables.core import Base
from autopay.domain.errors import LedgerUnavailable
from tests.ledger.books import Book, open_book

REPOSITORY = Path(__file__).parents[2]
REVISIONS = [
    "0001_initial_autopay_schema",
    "0002_session_and_retry",
    "0003_multi_api_priority",
    "0004_write_ahead",
    "0005_policy",
    "0006_audit",
    "0007_readers",
    "0008_content",
    "0009_key_checks",
    "0010_usage",
    "0011_access",
    "0012_webhooks",
]

ROWS_OF_0001 = """
INSERT INTO agents (id, name, autonomy_phase, wallet_address)
VALUES ('00000000-0000-0000-0000-000000000001', 'old', 'DEMO', 'wallet');
INSERT INTO transactions (id, agent_id, hash, amount, currency, status, x402_request_id, network)
VALUES ('00000000-0000-0000-0000-000000000002', '00000000-0000-0000-0000-000000000001', 'h', 0.5, 'CASH', 'VERIFIED',
        'a', 'DEVNET'),
       ('00000000-0000-0000-0000-000000000003', '00000000-0000-0000-0000-000000000001', NULL, 0.1, 'USDC', 'PENDING',
        'b', 'DEVNET');
INSERT INTO balance_snapshots (id, agent_id, balance, currency, status)
VALUES ('00000000-0000-0000-0000-000000000004', '00000000-0000-0000-0000-000000000001', 0.1, 'USDC', 'SUFFICIENT');
INSERT INTO api_request_logs (id, agent_id, endpoint, method, transaction_id)
VALUES ('00000000-0000-0000-0000-000000000005', '00000000-0000-0000-0000-000000000001', '/api/market-feed', 'GET',
        '00000000-0000-0000-0000-000000000002');
"""
KEPT = "SELECT id, agent_id, hash, amount, currency, status, x402_request_id, network, created_at FROM transactions"


def rows(url: str, query: str) -> list[dict[str, object]]:
    with psycopg.connect(url, row_factory=dict_row) as connection:
        return connection.execute(query).fetchall()


def execute(url: str, statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statements)


def test_rows_of_the_first_revision_survive_the_way_up_and_down_and_up(empty_database_url: str) -> None:
    url = empty_database_url
    migrations.upgrade(url, REVISIONS[0])
    execute(url, ROWS_OF_0001)
    before = rows(url, KEPT)
    for revision in [*REVISIONS[1:], *REVISIONS[-2::-1], *REVISIONS[1:]]:
        step = migrations.upgrade if revision > str(migrations.current(url)) else migrations.downgrade
        step(url, revision)
        assert migrations.current(url) == revision
        assert rows(url, KEPT) == before
    assert rows(url, "SELECT kind FROM audit_trail_view") == [
        {"kind": kind} for kind in ("transaction", "transaction", "request", "balance")
    ]


async def test_a_full_ledger_goes_down_to_nothing_and_up_again(database_url: str) -> None:
    ledger = open_ledger(database_url)
    book = await open_book(ledger)
    await book.settled(await book.recorded())
    await book.recorded()
    await ledger.requests.accept(book.agent, (await ledger.requests.get(await book.accepted())).spec, 1.0, 10)
    await ledger.agents.record_balance(book.agent, (await book.recorded()).currency, 1, 1, "LOW")
    await ledger.dispose()
    for revision in [*REVISIONS[-2::-1], "base"]:
        await asyncio.to_thread(migrations.downgrade, database_url, revision)
        if revision != "base":
            assert len(rows(database_url, KEPT)) == 3
    left = "SELECT typname FROM pg_type JOIN pg_namespace n ON n.oid = typnamespace WHERE nspname = 'public'"
    assert {row["typname"] for row in rows(database_url, left)} == {"alembic_version", "_alembic_version"}
    await asyncio.to_thread(migrations.upgrade, database_url)
    ledger = open_ledger(database_url)
    await (await open_book(ledger)).recorded()
    await ledger.dispose()


@pytest.mark.filterwarnings("ignore:Can't validate argument 'dialect_options'")  # alembic on PostgreSQL 18
def test_the_models_are_the_migrated_schema(database_url: str) -> None:
    engine = create_engine(engine_url(database_url))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_the_models_have_the_schemas_enums(database_url: str) -> None:
    query = "SELECT typname, enumlabel FROM pg_enum JOIN pg_type ON pg_type.oid = enumtypid"
    in_database = {(row["typname"], row["enumlabel"]) for row in rows(database_url, query)}
    types = {column.type for table in Base.metadata.tables.values() for column in table.columns}
    enums = [kind for kind in types if isinstance(kind, Enum)]
    assert {(kind.name, value) for kind in enums for value in kind.enums} == in_database


def test_the_models_have_the_schemas_checks_and_names(database_url: str) -> None:
    query = "SELECT conname FROM pg_constraint JOIN pg_namespace n ON n.oid = connamespace WHERE nspname = 'public'"
    names = {str(row["conname"]) for row in rows(database_url, f"{query} AND contype IN ('c', 'f', 'p', 'u')")}
    constraints = [constraint for table in Base.metadata.tables.values() for constraint in table.constraints]
    assert {str(constraint.name) for constraint in constraints} == names - {"alembic_version_pkc"}
    assert any(isinstance(constraint, CheckConstraint) for constraint in constraints)


def test_an_old_payment_may_only_fail_and_no_new_one_is_recorded_without_what_recovers_it(
    empty_database_url: str,
) -> None:
    migrations.upgrade(empty_database_url, REVISIONS[0])
    execute(empty_database_url, ROWS_OF_0001)
    migrations.upgrade(empty_database_url)
    with pytest.raises(psycopg.errors.CheckViolation, match="recoverable"):
        execute(empty_database_url, "UPDATE transactions SET status = 'RETRYING' WHERE status = 'PENDING'")
    execute(empty_database_url, "UPDATE transactions SET status = 'FAILED' WHERE status = 'PENDING'")


def test_a_revision_that_does_not_fit_the_rows_changes_nothing(empty_database_url: str) -> None:
    migrations.upgrade(empty_database_url, REVISIONS[2])
    agent = (
        "INSERT INTO agents (id, name, autonomy_phase, wallet_address) VALUES (gen_random_uuid(), 'x', 'DEMO', 'w');"
    )
    execute(empty_database_url, agent * 2)
    with pytest.raises(IntegrityError, match="uq_agents_name"):
        migrations.upgrade(empty_database_url)
    assert migrations.current(empty_database_url) == REVISIONS[2]
    assert len(rows(empty_database_url, "SELECT * FROM agents")) == 2


async def test_two_upgrades_at_once_are_one(empty_database_url: str) -> None:
    await asyncio.gather(*(asyncio.to_thread(migrations.current, empty_database_url) for _ in range(2)))
    commands = [asyncio.create_task(upgrade_elsewhere(empty_database_url)) for _ in range(2)]
    assert [await command for command in commands] == [(0, ""), (0, "")]
    assert migrations.current(empty_database_url) == migrations.head()


async def upgrade_elsewhere(url: str) -> tuple[int | None, str]:
    """Upgrade in a process of its own, in another directory; its exit status, and what it said."""
    code = "import sys; from autopay.adapters.postgres.maintenance.migrations import upgrade; upgrade(sys.argv[1])"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code,
        url,
        cwd="/",
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode, said.decode()


def test_the_whole_schema_can_be_printed_as_sql() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", "head", "--sql"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "CREATE VIEW audit_trail_view" in done.stdout


def test_migrating_a_database_that_does_not_answer_is_unavailable() -> None:
    for call in (migrations.upgrade, migrations.current):
        with pytest.raises(LedgerUnavailable):
            call("postgresql://nobody@127.0.0.1:1/nothing")


async def test_the_audit_trail_is_one_timeline(book: Book, database_url: str) -> None:
    attempt = await book.recorded(await book.accepted("one"))
    await book.settled(attempt)
    await book.ledger.agents.record_balance("buyer", attempt.currency, 5, 1, "SUFFICIENT")
    query = (
        "SELECT kind, status, amount::text, request_id, attempt_number FROM audit_trail_view ORDER BY created_at DESC"
    )
    assert [tuple(row.values()) for row in rows(database_url, query)] == [
        ("balance", "SUFFICIENT", "0.000005", None, None),
        ("transaction", "VERIFIED", "0.001000", "one", 1),
        ("request", None, "0.001000", "one", 1),
    ]
