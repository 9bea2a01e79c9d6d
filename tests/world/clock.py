"""Time in the in-memory world is the event loop's; `VirtualLoop` has a clock that jumps to the next thing to do.

Nothing here waits for real: a virtual hour passes as fast as its events can be handled, in the same order each time.
"""

import asyncio
import contextlib
import selectors
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""The moment at which every virtual loop begins."""


class NothingLeft(Exception):
    """Something is awaited, and nothing is scheduled that could ever wake it."""


class _JumpingSelector(selectors.SelectSelector):
    """No file is ever ready: to wait is to move the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise NothingLeft
        if timeout > 0:
            self.now_s += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop without files, whose time begins at 0 and moves only when everything waits."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)
        self._clock_resolution = 1e-6
        self.set_exception_handler(lambda _loop, _context: None)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._jumping.now_s


def run_virtually(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end on a loop of its own; what is still running then is canceled.

    Raises:
        NothingLeft: `main` waits for something that cannot happen any more.
    """
    loop = VirtualLoop()
    task = loop.create_task(main)
    try:
        return loop.run_until_complete(task)
    finally:
        left = [each for each in asyncio.all_tasks(loop) if not each.done()]
        for each in left:
            each.cancel()
        with contextlib.suppress(NothingLeft):
            if left:
                loop.run_until_complete(asyncio.wait(left))
        loop.close()


def now_ms() -> int:
    """Milliseconds of the running loop's clock."""
    return round(asyncio.get_running_loop().time() * 1000)


async def sleep_ms(wait_ms: float) -> None:
    """Wait on the running loop's clock."""
    await asyncio.sleep(wait_ms / 1000)


def moment(at_ms: int) -> datetime:
    """The date of a loop's time."""
    return EPOCH + timedelta(milliseconds=at_ms)
