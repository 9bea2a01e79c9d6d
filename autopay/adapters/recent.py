"""`Recent`: the last answers to questions that many ask, each good for a while and shared by all who ask."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from contextvars import Context
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

MAX_KEPT = 1_000
"""Readings that are kept; the one that was begun longest ago goes first."""


@dataclass(frozen=True)
class _Reading:
    """A question that was asked at `began`, and its answer or the wait for it."""

    began: float
    answer: asyncio.Task[Any]


class Recent:
    """Who asks while the same is being read waits for that reading.

    Args:
        clock: seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._readings: dict[Hashable, _Reading] = {}

    async def get(self, what: Hashable, age_s: float, read: Callable[[], Awaitable[T]]) -> T:
        """The last reading, or a new one when that began too long ago. All who wait are told of a fault."""
        reading = self._readings.get(what)
        if reading is None or self._clock() - reading.began > age_s:
            reading = self._begin(what, read)
        answer: T = await asyncio.shield(reading.answer)
        return answer

    def _begin(self, what: Hashable, read: Callable[[], Awaitable[T]]) -> _Reading:
        async def ask() -> T:
            return await read()

        # In a context of its own: it goes on for the others when the payment that began it is canceled.
        answer = asyncio.get_running_loop().create_task(ask(), context=Context())
        answer.add_done_callback(lambda ended: self._forget_a_fault(what, ended))
        reading = _Reading(self._clock(), answer)
        self._readings.pop(what, None)
        self._readings[what] = reading
        while len(self._readings) > MAX_KEPT:
            del self._readings[next(iter(self._readings))]
        return reading

    def _forget_a_fault(self, what: Hashable, ended: asyncio.Task[Any]) -> None:
        if not ended.cancelled() and ended.exception() is None:
            return
        reading = self._readings.get(what)
        if reading is not None and reading.answer is ended:
            del self._readings[what]
