"""Following the ledger: nothing missed, nothing twice, whatever is committed in which order."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest

from autopay.adapters.postgres import PostgresLedger, open_ledger
from autopay.adapters.postgres.database import notifier
from autopay.adapters.postgres.maintenance import migrations
from autopay.adapters.postgres.reports.events import POLL_S, START, LedgerEvent, parse_cursor, pause_after
from autopay.client.requests.event_text import describe_event
from autopay.domain.errors import CursorLost, UnknownAgent
from autopay.domain.payment.payment import Content
from autopay.domain.request import RequestStatus
from localnet.postgres.server import EmbeddedPostgres
from tests.ledger.books import JSON_REPLY, Book, open_book

PATIENCE_S = 120
WRITERS = 12
CHANGES = 10


async def take(events: AsyncIterator[LedgerEvent], count: int) -> list[LedgerEvent]:
    """The next so many."""

    async def next_ones() -> list[LedgerEvent]:
        return [await anext(events) for _ in range(count)]

    return await asyncio.wait_for(next_ones(), PATIENCE_S)


async def everything(ledger: PostgresLedger) -> list[LedgerEvent]:
    """All events, page by page."""
    found: list[LedgerEvent] = []
    while page := await ledger.events.page(after=found[-1].cursor if found else START, limit=7):
        found += page
    return found


async def test_a_payment_is_told_as_it_happens(book: Book) -> None:
    async with aclosing(book.ledger.events.follow()) as events:
        first = asyncio.create_task(take(events, 1))
        attempt = await book.recorded(await book.accepted("one"))
        await book.answered(attempt, Content(http_status=200), JSON_REPLY)
        settled = await book.settled(attempt)
        await book.end(attempt.request_key, RequestStatus.DELIVERED)
        told = await first
        while "ended: delivered" not in describe_event(told[-1]):
            told += await take(events, 1)
    assert {(event.agent, event.request_id) for event in told} <= {("buyer", "one"), ("buyer", None)}
    lines = [describe_event(event) for event in told]
    assert lines[0] in ("asked for /api/market-feed", "signed, attempt 1, 0.001 USDC → PENDING")
    for line in (
        "signed, attempt 1, 0.001 USDC → PENDING",
        "submitted, 0.001 USDC",
        f"0.001 USDC → VERIFIED {settled.signature}",
    ):
        assert line in lines


async def test_writers_of_all_speeds_lose_no_event_and_double_none(ledger: PostgresLedger, database_url: str) -> None:
    seed = random.randrange(2**32)  # noqa: S311
    print(f"seed {seed}")  # noqa: T201  # pytest shows it when the test fails
    agents = [(await ledger.agents.create(f"writer-{number}")).agent_id for number in range(WRITERS)]
    before = len(await everything(ledger))
    committed = 0

    async def write(number: int) -> None:
        nonlocal committed
        dice = random.Random(seed + number)  # noqa: S311
        async with await psycopg.AsyncConnection.connect(database_url) as connection:
            for change in range(CHANGES):
                # Its number is taken by the first write; how long it then stays open has no order.
                query = "UPDATE agents SET wallet_address = %s WHERE id = %s"
                await connection.execute(query, (f"{number}-{change}", agents[number]))
                await asyncio.sleep(dice.choice((0, 0, 0.001, 0.02, 0.3)))
                if dice.random() < 0.2:
                    await connection.rollback()
                else:
                    await connection.commit()
                    committed += 1

    found: list[LedgerEvent] = []

    async def read_on() -> None:
        dice = random.Random(seed)  # noqa: S311
        while not found or found[-1].agent != "last":  # leaves now and then, and goes on with the cursor
            async with aclosing(ledger.events.follow(after=found[-1].cursor if found else START)) as events:
                async for event in events:
                    found.append(event)
                    if event.agent == "last" or dice.random() < 0.1:
                        break

    reader = asyncio.create_task(read_on())
    await asyncio.gather(*(write(number) for number in range(WRITERS)))
    await ledger.agents.create("last")
    await asyncio.wait_for(reader, PATIENCE_S)
    assert [event.cursor for event in found] == [event.cursor for event in await everything(ledger)]
    assert len(found) == before + committed + 1
    for agent in agents:
        numbers = [event.seq for event in found if event.agent_id == agent]
        assert numbers == list(range(1, len(numbers) + 1))


async def test_what_is_younger_than_an_open_transaction_waits_for_it(book: Book, database_url: str) -> None:
    start = (await everything(book.ledger))[-1].cursor
    await book.ledger.agents.create("slow")
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await connection.execute("UPDATE agents SET wallet_address = 'late' WHERE name = 'slow'")
        await book.ledger.agents.create("quick")
        assert [event.agent for event in await book.ledger.events.page(after=start)] == ["slow"]
        async with aclosing(book.ledger.events.follow(after=start)) as events:
            assert [event.agent for event in await take(events, 1)] == ["slow"]
            rest = asyncio.create_task(take(events, 2))
            await connection.commit()
            assert [(event.agent, event.kind) for event in await rest] == [
                ("slow", "agents.changed"),
                ("quick", "agents.created"),
            ]


async def test_one_agents_events_and_the_last_ones(book: Book) -> None:
    await open_book(book.ledger, "other")
    await book.ledger.agents.set_wallet("buyer", "new")
    whole = await everything(book.ledger)
    mine = [event for event in whole if event.agent == "buyer"]
    assert list(await book.ledger.events.page(agent="buyer")) == mine
    assert list(await book.ledger.events.newest(limit=3)) == whole[-3:]
    async with aclosing(book.ledger.events.follow(tail=2, agent="buyer")) as events:
        assert await take(events, 2) == mine[-2:]
        await book.ledger.agents.set_wallet("other", "x")
        await book.ledger.agents.set_wallet("buyer", "y")
        assert [event.values for event in await take(events, 1)] == [{"wallet_address": "y"}]
    with pytest.raises(UnknownAgent):
        await anext(book.ledger.events.follow(agent="nobody"))


@pytest.mark.parametrize("cursor", ["", "1", "1:", ":1", "a:b", "-1:2", "1:2:3", "１:２"])
def test_what_is_no_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(ValueError, match="not a cursor"):
        parse_cursor(cursor)


async def test_a_cursor_of_another_history_is_refused(book: Book) -> None:
    last = (await everything(book.ledger))[-1]
    xid, number = parse_cursor(last.cursor)
    for lost in (f"{xid}:{number + 1}", f"{xid - 1}:{number}"):
        with pytest.raises(CursorLost, match="restored from a backup"):
            await anext(book.ledger.events.follow(after=lost))


async def test_reading_goes_on_after_the_database_was_away() -> None:
    with TemporaryDirectory(prefix="autopay-test-") as directory:
        server = EmbeddedPostgres(Path(directory) / "data")
        url = await asyncio.to_thread(server.start)
        await asyncio.to_thread(migrations.upgrade, url)
        ledger = open_ledger(url)
        away = asyncio.Event()
        # From the start: whether it begins to follow before or after the first change is chance.
        async with aclosing(ledger.events.follow(after=START, on_outage=lambda fault: away.set())) as events:
            following = asyncio.create_task(take(events, 2))
            await ledger.agents.create("before")
            await asyncio.to_thread(server.stop)
            await asyncio.wait_for(away.wait(), PATIENCE_S)
            await asyncio.to_thread(server.start)
            await ledger.agents.create("after")
            assert [event.agent for event in await following] == ["before", "after"]
        await ledger.dispose()
        await asyncio.to_thread(server.stop)


async def test_many_changes_ring_once_and_reading_never(
    book: Book, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await book.ledger.dispose()  # what was due has rung
    monkeypatch.setattr(notifier, "INTERVAL_S", 3_600)
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute(f"LISTEN {notifier.CHANNEL}")
        await book.ledger.agents.summaries()
        await book.ledger.events.page()
        await book.ledger.dispose()
        for number in range(10):
            await book.ledger.agents.set_wallet("buyer", str(number))
        await book.ledger.dispose()  # the first change rang at once, all others together now
        rings = [notice.channel async for notice in connection.notifies(timeout=0)]
    assert rings == [notifier.CHANNEL] * len(rings)
    assert 1 <= len(rings) <= 2


def test_a_reader_of_a_quiet_ledger_looks_every_two_seconds_for_ever() -> None:
    assert [pause_after(vain) for vain in (0, 1, 2)] == [0.05, 0.1, 0.2]
    assert {pause_after(vain) for vain in (6, 1_100, 1_000_000)} == {POLL_S}
