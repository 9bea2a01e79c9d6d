"""`Recent`: a cache of readings with a maximum age; callers that ask for the same at once share one read."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from contextvars import Context
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

MAX_KEPT = 1_000
"""Readings that are kept; the oldest is dropped first."""


@dataclass(frozen=True)
class _Reading:
    """A read that began at `began` (seconds of the clock), and the task that has its value or will have it."""

    began: float
    task: asyncio.Task[Any]


class Recent:
    """Readings by key. Only the last one of a key is kept.

    Args:
        clock: seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._readings: dict[Hashable, _Reading] = {}

    async def get(self, key: Hashable, max_age_s: float, read: Callable[[], Awaitable[T]]) -> T:
        """The last value of the key, or what `read` returns now when that read began more than `max_age_s` ago.

        A fault of `read` is raised in every caller that waits for it, and is not kept.
        """
        reading = self._readings.get(key)
        if reading is None or self._clock() - reading.began > max_age_s:
            reading = self._begin(key, read)
        value: T = await asyncio.shield(reading.task)
        return value

    def _begin(self, key: Hashable, read: Callable[[], Awaitable[T]]) -> _Reading:
        async def ask() -> T:
            return await read()

        # In a context of its own: it goes on for the other callers when the payment that began it is canceled.
        task = asyncio.get_running_loop().create_task(ask(), context=Context())
        task.add_done_callback(lambda ended: self._drop_failed(key, ended))
        reading = _Reading(self._clock(), task)
        self._readings.pop(key, None)
        self._readings[key] = reading
        while len(self._readings) > MAX_KEPT:
            del self._readings[next(iter(self._readings))]
        return reading

    def _drop_failed(self, key: Hashable, ended: asyncio.Task[Any]) -> None:
        if not ended.cancelled() and ended.exception() is None:
            return
        reading = self._readings.get(key)
        if reading is not None and reading.task is ended:
            del self._readings[key]
