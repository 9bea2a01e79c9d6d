"""Many readers of the ledger's events on one connection: `LedgerStream`.

One task follows the ledger and keeps the newest events; a reader takes them from there, or from the ledger while it is
further behind. Each reader gets every event behind its cursor once, in the ledger's order.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import islice
from typing import TYPE_CHECKING

from autopay.domain.errors import CursorLost, Fault, LedgerUnavailable

if TYPE_CHECKING:
    from autopay.adapters.postgres.reports.events import Events, LedgerEvent

logger = logging.getLogger(__name__)

KEPT = 5_000
"""Events that are kept in memory for all readers together."""

PAGE = 500
MOST_READERS = 200
AGAIN_S = 1.0
"""How soon a reader looks again that met an outage of the database."""


class TooManyReaders(Exception):
    """No more can read now."""


class LedgerStream:
    """Reads the ledger once, for all who follow it. End it with `close()`.

    Args:
        events: of the ledger that is read.
        most: readers at a time.
        kept: events in memory.
    """

    def __init__(self, events: Events, *, most: int = MOST_READERS, kept: int = KEPT) -> None:
        self._events = events
        self._most = most
        self._readers = 0
        self._recent = _Recent(kept)
        self._following: asyncio.Task[None] | None = None
        self._closed = asyncio.Event()

    @property
    def readers(self) -> int:
        """How many read now."""
        return self._readers

    @property
    def is_full(self) -> bool:
        """Whether there is no place for another reader."""
        return self._readers >= self._most

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place among the readers.

        Raises:
            TooManyReaders: there is none.
        """
        if self.is_full:
            raise TooManyReaders
        self._readers += 1
        try:
            yield
        finally:
            self._readers -= 1
            if self._readers == 0:
                await self._stop()

    async def read(
        self, after: str, agent: str | None = None, *, beat_s: float
    ) -> AsyncGenerator[LedgerEvent | None, None]:
        """Every event behind the cursor as it comes, and None after `beat_s` without one; ends at `close()`.

        To be used with a `place()`. Goes on by itself after an outage of the database.

        Raises:
            CursorLost: the ledger has no event at the cursor, or at the last one given out: it was restored.
            ValueError: `after` is not a cursor.
        """
        self._follow()
        at, checked, told_at = after, -1, time.monotonic()
        while not self._closed.is_set():
            news, generation, before = self._recent.news, self._recent.generation, at
            try:
                if generation != checked:  # the ledger may be another one by now
                    await self._events.require(at)
                    checked = generation
                found, reached = await self._behind(at, agent)
            except LedgerUnavailable:
                await self._wait(self._closed, AGAIN_S)
            else:
                for event in found:
                    yield event
                    at, told_at = event.cursor, time.monotonic()
                    if generation != self._recent.generation:
                        break
                else:
                    at = _later(at, reached)
                if at == before:
                    await self._wait(news, max(told_at + beat_s - time.monotonic(), 0))
            if time.monotonic() >= told_at + beat_s:
                yield None
                told_at = time.monotonic()

    def stop(self) -> None:
        """Let every reader end, soon."""
        self._closed.set()
        self._recent.tell()

    async def close(self) -> None:
        """Let every reader end, and ask the ledger nothing more."""
        self.stop()
        await self._stop()

    async def _behind(self, at: str, agent: str | None) -> tuple[list[LedgerEvent], str]:
        """The next events behind that place, and up to where there are no others."""
        recent = self._recent
        if recent.reaches(at):
            found = recent.behind(at, PAGE)
            if found:
                return [event for event in found if agent in (None, event.agent)], found[-1].cursor
            return [], at
        known = recent.last  # all up to here can be read: what is read next has it
        page = list(await self._events.page(after=at, agent=agent, limit=PAGE))
        if len(page) == PAGE or known is None:
            return page, page[-1].cursor if page else at
        return page, _later(page[-1].cursor if page else at, known)

    def _follow(self) -> None:
        if self._following is None or self._following.done():
            self._following = asyncio.create_task(self._run())

    async def _run(self) -> None:
        """Follow the ledger from its newest event on, for ever."""
        while True:
            try:
                start = await self._events.newest_cursor()
                self._recent.begin(start)
                async for event in self._events.follow(after=start):
                    self._recent.add(event)
            except CursorLost:
                continue  # restored: from its newest event on again
            except Fault:  # readers ask the ledger themselves meanwhile, and are told what is wrong
                self._recent.forget()
                await asyncio.sleep(AGAIN_S)
            except Exception:  # an event that cannot be read: nobody may wait for ever for one that does not come
                logger.exception("the ledger's events cannot be followed; readers ask for them themselves")
                self._recent.forget()
                await asyncio.sleep(AGAIN_S)

    async def _stop(self) -> None:
        following, self._following = self._following, None
        if following is not None:  # a reader that comes while this one ends begins another
            self._recent.forget()
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following

    async def _wait(self, event: asyncio.Event, within_s: float) -> None:
        with suppress(TimeoutError):  # of Python 3.11, `wait_for` swallows a cancellation that comes with the event
            async with asyncio.timeout(within_s):
                await event.wait()


class _Recent:
    """The newest events, all of those behind `start`; `generation` grows when they begin anew."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._start: str | None = None
        self._events: deque[LedgerEvent] = deque()
        self.generation = 0
        self.news = asyncio.Event()

    @property
    def last(self) -> str | None:
        """The cursor of the newest one."""
        return self._events[-1].cursor if self._events else self._start

    def begin(self, start: str) -> None:
        """Everything behind this place comes from now on."""
        self._start, self._events = start, deque()
        self.generation += 1
        self.tell()

    def forget(self) -> None:
        """Nothing is followed any more."""
        self._start, self._events = None, deque()

    def add(self, event: LedgerEvent) -> None:
        """The next one."""
        self._events.append(event)
        if len(self._events) > self._kept:
            self._start = self._events.popleft().cursor
        self.tell()

    def tell(self) -> None:
        """Wake who waits."""
        self.news.set()
        self.news = asyncio.Event()

    def reaches(self, cursor: str) -> bool:
        """Whether everything behind that cursor is here."""
        return self._start is not None and _order(cursor) >= _order(self._start)

    def behind(self, cursor: str, most: int) -> list[LedgerEvent]:
        """What is behind that cursor, so many at most."""
        place = _order(cursor)
        newer = 0
        for event in reversed(self._events):
            if _order(event.cursor) <= place:
                break
            newer += 1
        first = len(self._events) - newer
        return list(islice(self._events, first, first + most))


def _order(cursor: str) -> tuple[int, int]:
    xid, _, number = cursor.partition(":")
    return int(xid), int(number)


def _later(one: str, other: str) -> str:
    return max(one, other, key=_order)
