"""What every command shares: the options --home and --json, and an event loop of its own.

What must not live here: anything slow to import, as each command pays for it.
"""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

T = TypeVar("T")

CANCEL_AGAIN_S = 1.0

HomeOption = Annotated[
    Path | None, typer.Option("--home", help="Of the embedded stack, when it is used.", show_default=".autopay")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one line of JSON.")]


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Do it, in an event loop of its own; Ctrl-C ends it."""
    return asyncio.run(_attended(work))


async def _attended(work: Coroutine[Any, Any, T]) -> T:
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
