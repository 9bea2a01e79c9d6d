"""The stream of events when what it follows breaks, and when readers come as others go; without a ledger."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import UTC, datetime
from typing import cast
from uuid import uuid4

import pytest

from autopay.adapters.postgres.reports import stream as module
from autopay.adapters.postgres.reports.events import START, Events, LedgerEvent
from autopay.adapters.postgres.reports.stream import LedgerStream

LONG_S = 60.0
"""Nothing is said so soon: an event comes by itself, or the test takes too long."""

PATIENCE_S = 10.0


def event(number: int) -> LedgerEvent:
    """The event of that number."""
    return LedgerEvent(
        cursor=f"1:{number}", at=datetime.now(UTC), agent=None, agent_id=uuid4(), seq=number, kind="agents.created",
        row_id=uuid4(), request_id=None, amount_atomic=None, currency=None, values={},
    )  # fmt: skip


class Books:
    """Events in memory. Following them breaks as often as is said, and ends as slowly as a connection is closed."""

    def __init__(self, breaks: int = 0) -> None:
        self.breaks = breaks
        self.followed = 0
        self._events: list[LedgerEvent] = []
        self._grown = asyncio.Condition()

    async def add(self) -> None:
        """One more."""
        async with self._grown:
            self._events.append(event(len(self._events) + 1))
            self._grown.notify_all()

    async def newest_cursor(self) -> str:
        return self._events[-1].cursor if self._events else START

    async def require(self, cursor: str) -> None:
        pass

    async def page(self, *, after: str, agent: str | None, limit: int) -> Sequence[LedgerEvent]:
        return self._events[int(after.partition(":")[2]) :][:limit]

    async def follow(self, *, after: str) -> AsyncGenerator[LedgerEvent, None]:
        self.followed += 1
        if self.followed <= self.breaks:
            raise ValueError("a row that nobody can read")
        place = int(after.partition(":")[2])
        try:
            while True:
                async with self._grown:
                    while len(self._events) <= place:
                        await self._grown.wait()
                place += 1
                yield self._events[place - 1]
        finally:
            await asyncio.sleep(0.01)


async def first(stream: LedgerStream) -> str:
    """The cursor of the first event that a new reader is told."""
    async with stream.place():
        async for told in stream.read(START, beat_s=LONG_S):
            if told is not None:
                return told.cursor
    raise AssertionError("the stream has ended")


async def until(is_so: Callable[[], bool]) -> None:
    """Let the others go on until it is so."""
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():  # noqa: ASYNC110 - each step of the loop is to be met
            await asyncio.sleep(0)


async def reading(stream: LedgerStream) -> "asyncio.Task[str]":
    """A reader that has begun."""
    task = asyncio.create_task(first(stream))
    await until(lambda: stream.readers > 0)
    return task


async def test_what_nobody_foresaw_does_not_end_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGAIN_S", 0.01)
    books = Books(breaks=1)
    stream = LedgerStream(cast(Events, books))
    reader = await reading(stream)
    await until(lambda: books.followed == 2)
    await books.add()
    assert await asyncio.wait_for(reader, PATIENCE_S) == "1:1"
    await stream.close()


async def test_a_reader_that_comes_as_the_last_one_goes_is_told_at_once() -> None:
    books = Books()
    stream = LedgerStream(cast(Events, books))
    leaving = await reading(stream)
    await until(lambda: books.followed == 1)
    leaving.cancel()
    await until(lambda: stream.readers == 0)
    coming = await reading(stream)
    await asyncio.gather(leaving, return_exceptions=True)
    await books.add()
    assert await asyncio.wait_for(coming, PATIENCE_S) == "1:1"
    await stream.close()
