"""The ledger keeps nothing in a database session, so that a pooler may give each transaction another one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import psycopg
import pytest

from autopay.adapters.postgres import PostgresLedger, open_ledger
from autopay.adapters.postgres.database.connection import open_plain_engine
from autopay.adapters.postgres.maintenance import migrations
from autopay.adapters.postgres.maintenance.server import Server
from autopay.adapters.postgres.reports.events import START
from autopay.cli.app import run
from autopay.domain.errors import PoolerInBetween
from autopay.domain.payment.attempt import RecordedAttempt
from tests.ledger.books import Book, open_book
from tests.ledger.pooler import pooled

SETTINGS = {
    "statement_timeout": "15s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "30s",
    "timezone": "UTC",
    "synchronous_commit": "on",
    "transaction_isolation": "read committed",
}


async def settings_of_a_transaction(ledger: PostgresLedger) -> dict[str, str]:
    async with ledger.database.engine.connect() as connection:
        return {name: str((await connection.exec_driver_sql(f"SHOW {name}")).scalar_one()) for name in SETTINGS}


@pytest.fixture
async def pooled_url(database_url: str, tmp_path: Path) -> AsyncIterator[str]:
    with pooled(database_url, tmp_path) as url:
        yield url


@pytest.fixture
async def pooled_ledger(pooled_url: str) -> AsyncIterator[PostgresLedger]:
    ledger = open_ledger(pooled_url)
    yield ledger
    await ledger.dispose()


# Without a pooler: nothing is left in a session.


async def test_nothing_is_left_in_a_session_for_the_next_transaction(ledger: PostgresLedger, database_url: str) -> None:
    book = await open_book(ledger)
    for _ in range(8):  # psycopg prepares what it sees for the sixth time
        await book.ledger.agents.get(book.agent)
    assert await settings_of_a_transaction(ledger) == SETTINGS
    async with ledger.database.engine.connect() as connection, connection.begin():
        driver = (await connection.get_raw_connection()).driver_connection
        assert isinstance(driver, psycopg.AsyncConnection)
    with psycopg.connect(database_url) as fresh:
        kept = {name: row[0] for name in SETTINGS if (row := fresh.execute(f"SHOW {name}".encode()).fetchone())}
    await driver.set_autocommit(True)
    found = [await (await driver.execute(f"SHOW {name}".encode())).fetchone() for name in SETTINGS]
    assert [row[0] for row in found if row] == list(kept.values())
    prepared = await (await driver.execute("SELECT count(*) FROM pg_prepared_statements")).fetchone()
    assert prepared == (0,)
    await driver.close()


async def test_what_the_url_itself_sets_is_left_alone(database_url: str) -> None:
    ledger = open_ledger(f"{database_url}&options=-c%20statement_timeout%3D7s%20-clock_timeout=3s")
    found = await settings_of_a_transaction(ledger)
    assert found == SETTINGS | {"statement_timeout": "7s", "lock_timeout": "3s"}
    await ledger.dispose()


async def test_a_schema_of_the_url_is_the_search_path_of_every_transaction(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as owner:
        owner.execute('CREATE SCHEMA "My App"')
    url = f"{empty_database_url}&schema=My%20App"
    await asyncio.to_thread(migrations.upgrade, url)
    ledger = open_ledger(url)
    assert (await open_book(ledger)).agent
    await ledger.dispose()
    with Server(url).connected() as db:
        assert db.execute("SELECT count(*) FROM agents").fetchone() == (1,)


# Through PgBouncer, with fewer connections than the ledger opens.


async def test_payments_are_recorded_through_a_pooler(pooled_ledger: PostgresLedger) -> None:
    books = [await open_book(pooled_ledger, f"agent-{number}") for number in range(8)]

    async def buy(book: Book) -> RecordedAttempt:
        key = await book.accepted()
        recorded = await book.reserve(key)
        assert isinstance(recorded, RecordedAttempt)
        return recorded

    for _ in range(2):
        attempts = await asyncio.gather(*(buy(book) for book in books))
        assert len({each.message_hash for each in attempts}) == len(books)
    found = await asyncio.gather(*(settings_of_a_transaction(pooled_ledger) for _ in range(10)))
    assert found == [SETTINGS] * 10


async def test_migrations_run_through_a_pooler(empty_database_url: str, tmp_path: Path) -> None:
    with pooled(empty_database_url, tmp_path) as url:
        await asyncio.to_thread(migrations.upgrade, url)
        assert await asyncio.to_thread(migrations.current, url) == migrations.head()
        engine = open_plain_engine(url)
        with engine.connect() as connection:
            assert connection.exec_driver_sql("SHOW statement_timeout").scalar_one() == "15s"
        engine.dispose()


async def test_one_at_a_time_grants_through_a_pooler(pooled_ledger: PostgresLedger) -> None:
    inside, most = 0, 0

    async def grant() -> None:
        nonlocal inside, most
        async with pooled_ledger.sessions.lock_agent("trader"):
            inside += 1
            most = max(most, inside)
            await pooled_ledger.maintenance.schema_revision()
            inside -= 1

    await asyncio.gather(*(grant() for _ in range(2)))
    assert most == 1


async def test_events_are_followed_through_a_pooler(pooled_ledger: PostgresLedger) -> None:
    async with asyncio.timeout(20), aclosing(pooled_ledger.events.follow(after=START)) as events:
        await pooled_ledger.agents.create("first")
        assert (await anext(events)).agent == "first"
        waiting = asyncio.ensure_future(anext(events))
        await pooled_ledger.agents.create("second")
        assert (await waiting).agent == "second"


def test_a_command_that_needs_a_session_of_its_own_says_so(database_url: str, tmp_path: Path) -> None:
    with (
        pooled(database_url, tmp_path) as url,
        pytest.raises(PoolerInBetween, match="server's own address"),
        Server(url).connected(),
    ):
        raise AssertionError("unreachable")


def test_a_schema_is_not_upgraded_halfway_through_a_pooler(
    empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pooled(empty_database_url, tmp_path) as url:
        monkeypatch.setenv("AUTOPAY_DATABASE_URL", url)
        assert run(["db", "upgrade"]) == 2
        assert "server's own address" in capsys.readouterr().err
        assert migrations.current(url) is None
