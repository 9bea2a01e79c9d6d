"""Runs a command's work in an event loop of its own, or on an embedded stack in the foreground.

Nothing here is slow to import, as each command pays for it.
"""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from localnet.stack import Stack

T = TypeVar("T")

CANCEL_AGAIN_S = 1.0
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Do the work in an event loop of its own; Ctrl-C ends it."""
    return asyncio.run(_cancellable(work))


async def _cancellable(work: Coroutine[Any, Any, T]) -> T:
    """Cancel the work until it ends: before Python 3.12 `asyncio.wait_for`, which psycopg waits with, can swallow a
    cancellation that comes together with its result (python/cpython#86296)."""
    working = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        while not working.done():
            working.cancel()
            await asyncio.wait({working}, timeout=CANCEL_AGAIN_S)
        raise


async def in_foreground(
    stack: "Stack",
    work: Coroutine[Any, Any, None],
    on_signal: Callable[[], None],
    while_stopping: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
) -> bool:
    """Do the work and stop the stack; the first signal cancels the work, a second one kills every part.

    The stack is stopped within `while_stopping()`.

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
        killing = asyncio.create_task(_kill_at_next_signal(signals, stack))
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        async with while_stopping():
            await stack.stop()
        killing.cancel()


async def _kill_at_next_signal(signals: asyncio.Queue[None], stack: "Stack") -> None:
    await signals.get()
    await stack.kill_all()
