"""What every command shares: the options --home and --json, and an event loop of its own.

What must not live here: anything slow to import, as each command pays for it.
"""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

T = TypeVar("T")

HomeOption = Annotated[
    Path | None, typer.Option("--home", help="Of the embedded stack, when it is used.", show_default=".autopay")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one line of JSON.")]


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Do it, in an event loop of its own."""
    return asyncio.run(work)
