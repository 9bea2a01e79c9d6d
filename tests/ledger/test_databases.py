"""A test's database is as if it had been made for that test, whatever the one before has done."""

import psycopg
import pytest
from psycopg import sql

from autopay.adapters.postgres import open_ledger
from localnet.postgres.server import EmbeddedPostgres
from tests.databases import Databases
from tests.ledger.books import open_book


async def test_rows_are_gone_and_numbers_begin_again(postgres: EmbeddedPostgres, databases: Databases) -> None:
    name = databases.take()
    for _ in range(2):
        ledger = open_ledger(postgres.url(name))
        book = await open_book(ledger)
        await book.recorded(await book.accepted("one"))
        first = (await ledger.events.page())[0]
        assert first.cursor.endswith(":1")
        await ledger.dispose()
        databases.give_back(name)
        assert databases.take() == name
    with psycopg.connect(postgres.url(name)) as connection:
        for table in ("agents", "sessions", "api_request_logs", "transactions", "audit_events", "session_usage"):
            rows = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table)))
            assert rows.fetchone() == (0,)
    databases.give_back(name)


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE key_checks",
        "ALTER TABLE audit_events DISABLE TRIGGER append_only",
        "CREATE INDEX another ON agents (name)",
        "ALTER TABLE agents ADD COLUMN another int",
        "CREATE SCHEMA another",
        "GRANT SELECT ON agents TO PUBLIC",
        "UPDATE alembic_version SET version_num = 'another'",
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET work_mem = 64', current_database()); END $$",
    ],
)
def test_a_database_with_another_schema_is_not_used_again(
    statement: str, postgres: EmbeddedPostgres, databases: Databases
) -> None:
    name = databases.take()
    with psycopg.connect(postgres.url(name), autocommit=True) as connection:
        connection.execute(statement)
    databases.give_back(name)
    other = databases.take()
    assert other != name
    databases.give_back(other)


def test_who_is_still_connected_is_cut_off(postgres: EmbeddedPostgres, databases: Databases) -> None:
    name = databases.take()
    with psycopg.connect(postgres.url(name), autocommit=True) as left:
        left.execute("SELECT pg_advisory_lock(1)")
        databases.give_back(name)
        with pytest.raises(psycopg.OperationalError):
            left.execute("SELECT 1")
