"""Follows the run in the ledger: which requests have ended, and how much is not final yet. Survives its outages.

What must not live here: judgement.
"""

import asyncio
import contextlib
from typing import Any

import psycopg

from tests.chaos.books import ended

POLL_S = 0.2
CONNECT_S = 3


class Progress:
    """`ended` holds agent/request_id of every request that has ended; `unfinished` counts what is not final."""

    def __init__(self, database_url: str) -> None:
        self.ended: frozenset[str] = frozenset()
        self.unfinished = 0
        self.reads = 0
        self._url = database_url
        self._db: psycopg.Connection[Any] | None = None
        self._news = asyncio.Condition()

    async def follow(self) -> None:
        """Read again and again, for ever."""
        try:
            while True:
                with contextlib.suppress(psycopg.Error):
                    self.ended, self.unfinished = await asyncio.to_thread(self._read)
                    self.reads += 1
                    async with self._news:
                        self._news.notify_all()
                await asyncio.sleep(POLL_S)
        finally:
            self._forget()

    async def until_ended(self, name: str) -> None:
        """Return when that request has ended."""
        async with self._news:
            await self._news.wait_for(lambda: name in self.ended)

    async def until_ended_or(self, count: int, timeout_s: float) -> None:
        """Return when that many requests have ended, or the time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s), self._news:
                await self._news.wait_for(lambda: len(self.ended) >= count)

    async def until_final(self) -> None:
        """Return when no request, no payment and no queue's place is open, by a reading from now on."""
        fresh = self.reads + 1
        async with self._news:
            await self._news.wait_for(lambda: self.reads > fresh and self.unfinished == 0)

    def _read(self) -> tuple[frozenset[str], int]:
        try:
            if self._db is None:
                self._db = psycopg.connect(self._url, autocommit=True, connect_timeout=CONNECT_S)
            return ended(self._db)
        except psycopg.Error:
            self._forget()
            raise

    def _forget(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None
