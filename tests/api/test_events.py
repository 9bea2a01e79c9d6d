"""The stream of events: every change once, in the ledger's order, over reconnects and outages."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import psycopg
import pytest

from autopay.adapters.postgres.reports.events import START, LedgerEvent
from autopay.adapters.postgres.reports.stream import LedgerStream, TooManyReaders
from autopay.api.app import create_app
from autopay.api.services import Services
from autopay.api.serving import ApiServer
from autopay.domain.errors import CursorLost
from autopay.gateway.serving import url_of
from tests.ledger.books import Book

PATIENCE_S = 60
WRITERS, CHANGES = 4, 8


@pytest.fixture
async def server(services: Services) -> AsyncIterator[str]:
    """The address of a server of the application; ended in good time, whatever streams are open."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = ApiServer(services.access.gate(create_app(services)), listening, services.stream.stop)
        running = asyncio.create_task(serving.run())
        yield url_of(listening)
        serving.stop()
        await asyncio.wait_for(running, PATIENCE_S)


@asynccontextmanager
async def opened(server: str, **params: str) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    """The messages of a stream that is open."""
    headers = {"Last-Event-ID": params.pop("last")} if "last" in params else {}
    async with (
        httpx.AsyncClient(base_url=server, timeout=PATIENCE_S) as client,
        client.stream("GET", "/api/events", params=params, headers=headers) as answer,
    ):
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        yield messages(answer)


async def messages(answer: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    """Each message with its fields; comments are left out."""
    fields: dict[str, Any] = {}
    async for line in answer.aiter_lines():
        if not line:
            if "data" in fields:
                yield fields | {"data": json.loads(fields["data"])}
            fields = {}
            continue
        name, _, value = line.partition(": ")
        if name:
            fields[name] = value


async def everything(book: Book) -> list[LedgerEvent]:
    """All events of the ledger."""
    return [*await book.ledger.events.page(limit=100_000)]


async def write(database_url: str, agents: list[str]) -> None:
    """Writers that commit at different speeds, so that transactions end in another order than they began."""

    async def one(number: int) -> None:
        async with await psycopg.AsyncConnection.connect(database_url) as connection:
            for change in range(CHANGES):
                query = "UPDATE agents SET wallet_address = %s WHERE name = %s"
                await connection.execute(query, (f"{number}-{change}", agents[number]))
                await asyncio.sleep((number * change % 5) / 200)
                await connection.commit()

    await asyncio.gather(*(one(number) for number in range(WRITERS)))


async def test_readers_that_leave_and_return_get_every_event_once_while_many_write(
    services: Services, server: str, book: Book, database_url: str
) -> None:
    names = [f"writer-{number}" for number in range(WRITERS)]
    for name in names:
        await book.ledger.agents.create(name)

    async def read(leave_after: int) -> list[str]:
        found: list[str] = []
        while True:
            place = {"last": found[-1]} if found else {"after": START}
            async with opened(server, **place) as stream:
                taken = 0
                async for message in stream:
                    found.append(message["id"])
                    taken += 1
                    if message["data"]["agent"] == "last":
                        return found
                    if taken == leave_after:
                        break

    readers = [asyncio.create_task(read(leave_after)) for leave_after in (1_000, 7, 23)]
    await write(database_url, names)
    await book.ledger.agents.create("last")
    expected = [event.cursor for event in await everything(book)]
    for found in await asyncio.wait_for(asyncio.gather(*readers), PATIENCE_S):
        assert found == expected


async def test_a_stream_of_one_agent_has_its_events_only(server: str, book: Book) -> None:
    async with opened(server, agent="buyer", after=START) as stream:
        await book.ledger.agents.create("other")
        await book.accepted("one")
        async for message in stream:
            assert message["data"]["agent"] == "buyer"
            if message["data"]["request_id"] == "one":
                return


async def test_without_a_cursor_only_what_is_new_comes(server: str, book: Book) -> None:
    async with opened(server) as stream:
        await book.accepted("new")
        message = await anext(stream)
    assert message["data"]["request_id"] == "new"
    assert message["data"]["text"] == "asked for /api/market-feed"


async def test_all_readers_share_one_connection_that_listens(server: str, book: Book, database_url: str) -> None:
    async with opened(server) as first, opened(server) as second, opened(server) as third:
        await book.accepted("one")
        assert len({(await anext(stream))["id"] for stream in (first, second, third)}) == 1
        with psycopg.connect(database_url) as db:
            row = db.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query ILIKE 'LISTEN%'"
            ).fetchone()
    assert row == (1,)


async def test_the_pages_stream_tells_of_the_same_events_on_the_same_connection(
    services: Services, server: str, book: Book
) -> None:
    newest = (await everything(book))[-1].cursor
    async with (
        httpx.AsyncClient(base_url=server, timeout=PATIENCE_S) as client,
        client.stream("GET", "/events", params={"after": newest}) as answer,
    ):
        lines = answer.aiter_lines()
        assert await anext(lines) == "event: beat"
        await book.accepted("one")
        async for line in lines:
            if line.startswith("data: {"):
                assert json.loads(line.removeprefix("data: "))["request"] == "one"
                break
        assert services.stream.readers == 1


async def test_a_place_that_is_gone_is_told_by_its_name(server: str, book: Book, api: httpx.AsyncClient) -> None:
    answer = await api.get("/api/events", params={"after": "1:1"})
    assert (answer.status_code, answer.json()["rule"]) == (410, "cursor_lost")
    async with opened(server, last="1:1") as stream:
        message = await anext(stream)
        assert (message["event"], message["data"]["rule"]) == ("lost", "cursor_lost")
        await book.accepted("one")
        assert (await anext(stream))["data"]["request_id"] == "one"


@pytest.mark.parametrize("cursor", ["x", "1", "-1:0", "0:0:0", "9" * 30 + ":1", "0:\u0661"])
async def test_what_is_no_cursor_is_refused(api: httpx.AsyncClient, cursor: str) -> None:
    answer = await api.get("/api/events", params={"after": cursor})
    assert (answer.status_code, answer.json()["rule"]) == (422, "wrong_cursor")
    named = await api.get("/api/events", params={"agent": "nobody"})
    assert (named.status_code, named.json()["rule"]) == (404, "unknown_agent")


async def test_no_more_read_than_there_are_places(book: Book) -> None:
    stream = LedgerStream(book.ledger.events, most=1)
    async with stream.place():
        with pytest.raises(TooManyReaders):
            await stream.place().__aenter__()
    async with stream.place():
        assert stream.readers == 1
    await stream.close()


async def test_a_slow_reader_reads_from_the_ledger_what_is_kept_no_longer(book: Book) -> None:
    stream = LedgerStream(book.ledger.events, kept=3)
    found: list[str] = []
    async with stream.place():
        reading = stream.read(START, beat_s=PATIENCE_S)
        first = await anext(reading)
        assert first is not None
        found.append(first.cursor)
        for number in range(10):
            await book.ledger.agents.create(f"agent-{number}")
        expected = [event.cursor for event in await everything(book)]
        while len(found) < len(expected):
            event = await asyncio.wait_for(anext(reading), PATIENCE_S)
            assert event is not None
            found.append(event.cursor)
        await reading.aclose()
    assert found == expected
    await stream.close()


async def test_a_ledger_that_was_restored_meanwhile_is_told(book: Book, database_url: str) -> None:
    await book.accepted("one")
    stream = LedgerStream(book.ledger.events)
    async with stream.place():
        reading = stream.read((await everything(book))[-1].cursor, beat_s=0.05)
        assert await anext(reading) is None
        with psycopg.connect(database_url) as db:
            db.execute("SET session_replication_role = replica")
            db.execute("DELETE FROM audit_events")
            db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ILIKE 'LISTEN%'")
        with pytest.raises(CursorLost):
            await asyncio.wait_for(_to_its_end(reading), PATIENCE_S)
    await stream.close()


async def test_an_outage_of_the_database_is_waited_for(server: str, book: Book, database_url: str) -> None:
    async with opened(server) as stream:
        await book.accepted("before")
        assert (await anext(stream))["data"]["request_id"] == "before"
        with psycopg.connect(database_url) as db:
            db.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND datname = current_database()"
            )
        await book.accepted("after")
        async for message in stream:
            if message["data"]["request_id"] == "after":
                return


async def _to_its_end(reading: AsyncIterator[LedgerEvent | None]) -> None:
    async for _ in reading:
        pass
