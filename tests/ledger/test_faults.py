"""When the database does not answer: the fault says so, nothing is half recorded, and calling again is safe."""

import asyncio
from collections.abc import Callable

import psycopg
import pytest
from sqlalchemy import Connection, event

from autopay.adapters.postgres import PostgresLedger, open_ledger
from autopay.adapters.postgres.database.connection import engine_url
from autopay.adapters.postgres.maintenance.migrations import downgrade
from autopay.domain.errors import LedgerUnavailable, NotMigrated
from tests.ledger.books import Book


def kill(connection: Connection, postgres_url: str) -> None:
    """End the server's side of a connection, and wait until it is gone."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.AsyncConnection)
    with psycopg.connect(postgres_url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", (driver.info.backend_pid,))


def kill_at_next_commit(ledger: PostgresLedger, postgres_url: str, *, committed: bool) -> None:
    """Lose the connection in the next commit, before the server commits or before it can say that it did."""

    def lose(connection: Connection) -> None:
        if committed:
            connection.exec_driver_sql("COMMIT")
            connection.exec_driver_sql("BEGIN")
        kill(connection, postgres_url)

    event.listen(ledger.database.engine.sync_engine, "commit", lose, once=True)


async def test_a_connection_lost_before_the_commit_records_nothing(book: Book, postgres_url: str) -> None:
    key = await book.accepted()
    kill_at_next_commit(book.ledger, postgres_url, committed=False)
    with pytest.raises(LedgerUnavailable):
        await book.reserve(key)
    assert await book.ledger.payments.open_attempts() == []
    assert (await book.recorded(key)).number == 1


async def test_a_commit_whose_answer_is_lost_returns_the_recorded_attempt_when_asked_again(
    book: Book, postgres_url: str
) -> None:
    key = await book.accepted()
    kill_at_next_commit(book.ledger, postgres_url, committed=True)
    with pytest.raises(LedgerUnavailable):
        await book.reserve(key)
    (recorded,) = await book.ledger.payments.open_attempts()
    assert await book.reserve(key) == recorded


async def test_a_pooled_connection_that_died_meanwhile_is_replaced(book: Book, postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'autopay'")
    assert (await book.ledger.agents.get("buyer")).name == "buyer"


@pytest.mark.parametrize(
    "change",
    [
        lambda url: url.replace("port=5432", "port=1"),
        lambda url: url.replace("test_", "missing_"),
        lambda url: "postgresql://nobody@127.0.0.1:1/nothing",
    ],
    ids=["no server", "no database", "connection refused"],
)
async def test_an_unreachable_database_is_unavailable(database_url: str, change: Callable[[str], str]) -> None:
    ledger = open_ledger(change(database_url))
    with pytest.raises(LedgerUnavailable):
        await ledger.agents.get("buyer")
    await ledger.dispose()


async def test_a_row_that_stays_locked_is_unavailable(book: Book, database_url: str) -> None:
    key = await book.accepted()
    impatient = open_ledger(f"{database_url}&options=-c%20lock_timeout=50ms")
    with psycopg.connect(database_url) as other:
        other.execute("SELECT * FROM sessions FOR UPDATE")
        with pytest.raises(LedgerUnavailable, match="lock timeout"):
            await Book(impatient, book.agent, book.session_id).reserve(key)
    await impatient.dispose()
    assert await book.ledger.payments.open_attempts() == []


async def test_a_cancelled_call_records_nothing_and_gives_its_locks_back(book: Book, database_url: str) -> None:
    key = await book.accepted()
    with psycopg.connect(database_url) as other:
        other.execute("SELECT * FROM sessions FOR UPDATE")
        waiting = asyncio.create_task(book.reserve(key))
        with psycopg.connect(database_url, autocommit=True) as watcher:
            query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            while watcher.execute(query).fetchone() == (0,):  # noqa: ASYNC110  # nobody tells when it waits
                await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert await book.ledger.payments.open_attempts() == []
    assert (await book.recorded(key)).number == 1


async def test_a_database_without_tables_is_not_migrated(empty_database_url: str) -> None:
    ledger = open_ledger(empty_database_url)
    assert await ledger.maintenance.schema_revision() is None
    for call in (ledger.agents.get("buyer"), ledger.maintenance.check_schema()):
        with pytest.raises(NotMigrated):
            await call
    await ledger.dispose()


async def test_a_database_of_an_older_revision_is_not_migrated(ledger: PostgresLedger, database_url: str) -> None:
    await ledger.maintenance.check_schema()
    await asyncio.to_thread(downgrade, database_url, "0003_multi_api_priority")
    with pytest.raises(NotMigrated, match="0003_multi_api_priority"):
        await ledger.maintenance.check_schema()
    with pytest.raises(NotMigrated):
        await ledger.requests.result("ap_x")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("postgres://u:p@h:1/d", "postgresql+psycopg://u:p@h:1/d"),
        ("postgresql://u:p@h/d?schema=public", "postgresql+psycopg://u:p@h/d"),
        ("postgresql+asyncpg://h/d", "postgresql+psycopg://h/d"),
        ("postgresql://h/d?schema=pay", "postgresql+psycopg://h/d"),
    ],
)
def test_any_postgres_url_is_understood(given: str, expected: str) -> None:
    assert engine_url(given).render_as_string(hide_password=False) == expected


def test_another_databases_url_is_refused() -> None:
    with pytest.raises(ValueError, match="should start with postgresql://"):
        open_ledger("mysql://h/d")


async def test_limits_are_summed_at_read_committed_whatever_the_database_says(
    ledger: PostgresLedger, database_url: str
) -> None:
    with psycopg.connect(database_url.replace("+psycopg", ""), autocommit=True) as owner:
        name = owner.info.dbname
        owner.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'".encode())
    other = open_ledger(database_url)
    async with other.database.engine.connect() as connection:
        found = (await connection.exec_driver_sql("SHOW transaction_isolation")).scalar_one()
    await other.dispose()
    assert found == "read committed"
