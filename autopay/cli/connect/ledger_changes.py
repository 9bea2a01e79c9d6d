"""Waiting for the ledger to change: by its notifications, and by looking from time to time where none arrive."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from autopay.domain.errors import LedgerUnavailable

if TYPE_CHECKING:
    from autopay.adapters.postgres import PostgresLedger

FIRST_REST_S = 0.005
LAST_REST_S = 0.1
"""How long a reader that was woken in vain rests before it can be woken again: a busy ledger notifies all the time."""


class LedgerChanges:
    """One reader's wait for changes; made by `ledger_changes`."""

    def __init__(self, woken: Callable[[float], Awaitable[bool]] | None) -> None:
        self._woken = woken
        self._rest_s = FIRST_REST_S
        self._returned_at = 0.0

    async def wait(self, within_s: float) -> None:
        """Return when something was committed since the last call, after `within_s` seconds at the latest.

        Nothing is missed between two calls. An outage of the database ends the notifications, not the wait: whoever
        looks then sees the outage itself.
        """
        until = time.monotonic() + within_s
        await asyncio.sleep(min(max(self._returned_at + self._rest_s - time.monotonic(), 0), within_s))
        left = max(until - time.monotonic(), 0)
        if self._woken is None:
            await asyncio.sleep(left)
        else:
            try:
                await self._woken(left)
            except LedgerUnavailable:
                self._woken = None
        self._rest_s = min(self._rest_s * 1.5, LAST_REST_S)
        self._returned_at = time.monotonic()


@asynccontextmanager
async def ledger_changes(ledger: PostgresLedger) -> AsyncIterator[LedgerChanges]:
    """Listens from now on; what was committed before has to be looked for after this was entered."""
    async with AsyncExitStack() as stack:
        try:
            woken = await stack.enter_async_context(ledger.events.listening())
        except LedgerUnavailable:  # no connection is left, for example: the others have pooled ones
            woken = None
        yield LedgerChanges(woken)
