"""Waits for commits to the ledger: by its notifications, or by a time-out where none arrive."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from autopay.domain.errors import LedgerUnavailable

Listening = Callable[[], AbstractAsyncContextManager[Callable[[float], Awaitable[bool]]]]
"""Listens for commits (`Events.listening`): what it gives waits for one, for that many seconds at most."""

FIRST_PAUSE_S = 0.005
LONGEST_PAUSE_S = 0.1
"""A pause between two wake-ups, which grows from the first to the longest: a busy ledger notifies all the time."""


class LedgerChanges:
    """Lets one reader wait for commits; made by `ledger_changes`.

    Args:
        notified: waits for a notification for that many seconds at most; None where there are no notifications.
    """

    def __init__(self, notified: Callable[[float], Awaitable[bool]] | None) -> None:
        self._notified = notified
        self._pause_s = FIRST_PAUSE_S
        self._returned_at = 0.0

    @property
    def is_notified(self) -> bool:
        """Whether notifications still come: an outage of the database ends them."""
        return self._notified is not None

    def was_useful(self) -> None:
        """The last wake-up was not in vain: the pauses begin to grow anew."""
        self._pause_s = FIRST_PAUSE_S

    async def wait(self, within_s: float) -> None:
        """Return when something was committed since the last call, after `within_s` seconds at the latest.

        Nothing is missed between two calls. An outage of the database ends the notifications, not the wait: the caller
        meets the outage when it reads.
        """
        until = time.monotonic() + within_s
        await asyncio.sleep(min(max(self._returned_at + self._pause_s - time.monotonic(), 0), within_s))
        left = max(until - time.monotonic(), 0)
        if self._notified is None:
            await asyncio.sleep(left)
        else:
            try:
                await self._notified(left)
            except LedgerUnavailable:
                self._notified = None
        self._pause_s = min(self._pause_s * 1.5, LONGEST_PAUSE_S)
        self._returned_at = time.monotonic()


@asynccontextmanager
async def ledger_changes(listening: Listening) -> AsyncIterator[LedgerChanges]:
    """Listen from now on. Read the ledger once after entering: of what was committed before comes no notification."""
    async with AsyncExitStack() as stack:
        try:
            notified = await stack.enter_async_context(listening())
        except LedgerUnavailable:  # no connection is left, for example: the others have pooled ones
            notified = None
        yield LedgerChanges(notified)
