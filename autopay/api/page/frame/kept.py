"""A reading that is kept for a while, so that many viewers cost no more than one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")

LEAST_S, MOST_S = 0.5, 5.0
SHARE, SLOW_SHARE = 10, 2
"""What took 0.1 s to read is kept for a second, and nothing for more than `MOST_S`, but for what takes so long that the
database would then do little else: that is kept for twice as long as it took."""


class Kept(Generic[T]):
    """The last answer of `read`; who asks while it is being read waits for that same answer. `clock` tells seconds."""

    def __init__(
        self,
        read: Callable[[], Awaitable[T]],
        least_s: float = LEAST_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._clock = clock
        self._least_s = least_s
        self._until = 0.0
        self._value: T | None = None
        self._reading = asyncio.Lock()

    async def __call__(self) -> T:
        """The answer, kept or read now."""
        async with self._reading:
            if self._value is None or self._clock() >= self._until:
                began = self._clock()
                self._value = await self._read()
                took_s = self._clock() - began
                most_s = max(MOST_S, took_s * SLOW_SHARE)
                self._until = self._clock() + min(max(took_s * SHARE, self._least_s), most_s)
            return self._value
