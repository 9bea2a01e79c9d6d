"""Runs work on an embedded stack in the foreground until it is done or a signal comes, and leaves nothing running.

What must not live here: what is done on the stack.
"""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from localnet.stack import Stack

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def in_foreground(stack: "Stack", work: Coroutine[Any, Any, None], on_signal: Callable[[], None]) -> bool:
    """Do the work and stop the stack; the first signal cancels the work, a second one kills every part.

    Returns:
        Whether the work came to its own end.
    """
    signals: asyncio.Queue[None] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, signals.put_nowait, None)
    working = asyncio.create_task(work)
    signalled = asyncio.create_task(signals.get())
    try:
        await asyncio.wait((working, signalled), return_when=asyncio.FIRST_COMPLETED)
        if not signalled.done():
            await working
            return True
        on_signal()
        return False
    finally:
        signalled.cancel()
        impatient = asyncio.create_task(_kill_at_the_next(signals, stack))
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        await stack.stop()
        impatient.cancel()


async def _kill_at_the_next(signals: asyncio.Queue[None], stack: "Stack") -> None:
    await signals.get()
    await stack.kill_all()
