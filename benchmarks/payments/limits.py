"""How long a benchmark may take: each figure, and all of them together."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from benchmarks.payments.town import tell

T = TypeVar("T")


class Limits:
    """Runs measurements one after the other until the time is over. `missing` names what was not measured, and why.

    Args:
        all_s: seconds for all of them, from now.
    """

    def __init__(self, all_s: float) -> None:
        self._end = time.monotonic() + all_s
        self.missing: list[str] = []

    async def run(self, what: str, measuring: Coroutine[Any, Any, T], limit_s: float) -> T | None:
        """What is measured; None when it took longer than `limit_s`, failed, or there is no time left."""
        limit_s = min(limit_s, self._end - time.monotonic())
        if limit_s <= 0:
            measuring.close()
            self._leave_out(what, "no time was left")
            return None
        try:
            async with asyncio.timeout(limit_s) as limit:
                return await measuring
        except Exception as error:
            too_long = isinstance(error, TimeoutError) and limit.expired()
            why = f"it took more than {limit_s:.0f} s" if too_long else f"{type(error).__name__}: {error}"
        self._leave_out(what, why)
        return None

    def _leave_out(self, what: str, why: str) -> None:
        self.missing.append(f"{what} ({why})")
        tell(f"{what}: not measured: {why}")
