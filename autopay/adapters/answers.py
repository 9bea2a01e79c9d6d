"""Waits for requests to be answered: one listener and one reading of the ledger, for however many wait."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from autopay.adapters.ledger_changes import LedgerChanges, Listening, ledger_changes

LOOK_S = 0.5
"""How often the ledger is looked at when it does not notify."""


IDLE_S = 30
"""For so long a connection listens for nobody: what it is told meanwhile stays unread, and the server keeps it."""

LISTEN_AGAIN_S = 5
"""So long after notifications were lost, or could not be had, they are asked for again."""


class AnsweredRequests(Protocol):
    """Which requests have been answered. Raises LedgerUnavailable."""

    async def answered_among(self, request_keys: Sequence[str]) -> Sequence[str]:
        """Those that have ended, or whose content has come."""
        ...


class AnswerWatch:
    """Tells when requests have ended, or their content has come. Works while anybody waits, until `close()`."""

    def __init__(self, requests: AnsweredRequests, listening: Listening) -> None:
        self._requests, self._listening = requests, listening
        self._waiting: dict[str, set[asyncio.Future[None]]] = defaultdict(set)
        self._somebody_waits = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        self._is_closed = False

    async def answered(self, request_key: str, within_s: float) -> bool:
        """Whether the request has ended, or its content has come, within that time.

        Raises:
            Fault: the ledger could not be read.
            RuntimeError: it is closed.
        """
        if self._is_closed:
            raise _closed()
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch())
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[request_key].add(told)
        self._somebody_waits.set()
        try:
            async with asyncio.timeout(within_s):
                await told
        except TimeoutError:
            return False
        finally:
            self._forget(request_key, told)
        return True

    async def close(self) -> None:
        """End the listener; who still waits gets an error."""
        self._is_closed = True
        if self._watching is not None:
            self._watching.cancel()
            with suppress(asyncio.CancelledError):
                await self._watching
        self._fail_all(_closed())

    def _forget(self, request_key: str, told: asyncio.Future[None]) -> None:
        if told.done() and not told.cancelled():
            told.exception()  # whoever was interrupted at this moment does not hear it: it is not to be logged as lost
        waiting = self._waiting.get(request_key)
        if waiting is not None:
            waiting.discard(told)
            if not waiting:
                del self._waiting[request_key]

    async def _watch(self) -> None:
        """Until nobody has waited for a while, or an error that all who wait get; the next to wait begins anew."""
        try:
            while await self._is_needed():
                async with ledger_changes(self._listening) as changes:
                    await self._look_at_changes(changes)
        except Exception as error:
            self._fail_all(error)

    async def _is_needed(self) -> bool:
        """Whether somebody waits, or begins to within a while.

        Python 3.11 loses a cancellation that comes together with a notification, so `close` is looked for as well.
        """
        if self._is_closed:
            return False
        try:
            async with asyncio.timeout(IDLE_S):
                await self._somebody_waits.wait()
        except TimeoutError:
            return False
        return True

    async def _look_at_changes(self, changes: LedgerChanges) -> None:
        """Until nobody has waited for a while, or notifications that were lost may come again."""
        began = time.monotonic()
        while await self._is_needed():
            await self._look(changes)
            if not self._waiting:
                self._somebody_waits.clear()
                continue
            await changes.wait(LOOK_S)
            if not changes.is_notified and time.monotonic() - began > LISTEN_AGAIN_S:
                return

    async def _look(self, changes: LedgerChanges) -> None:
        """Read how all that is waited for stands; an error is everybody's who waits."""
        try:
            ended = await self._requests.answered_among(tuple(self._waiting))
        except Exception as error:
            self._fail_all(error)
            return
        for request_key in ended:
            changes.was_useful()
            for told in self._waiting.pop(request_key, ()):
                if not told.done():
                    told.set_result(None)

    def _fail_all(self, error: Exception) -> None:
        for waiting in self._waiting.values():
            for told in waiting:
                if not told.done():
                    told.set_exception(error)


def _closed() -> RuntimeError:
    return RuntimeError("nothing waits for answers any more: it is closed")
