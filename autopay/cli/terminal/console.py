"""What commands write: results to stdout, notes and progress to stderr, JSON as one line.

Nothing here is slow to import, as each command pays for it.
"""

import json
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from autopay.domain.text.printable import printable

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console

PIPE_WIDTH = 1_000_000
"""Columns when stdout is no terminal: nothing is wrapped or cut then."""

ProgressCallback = Callable[[str], None]
"""Is called with one line about work under way, each time that it changes."""


def stdout_console() -> "Console":
    """A console for results."""
    from rich.console import Console

    terminal = sys.stdout.isatty()
    return Console(file=sys.stdout, highlight=False, width=None if terminal else PIPE_WIDTH)


def stderr_console() -> "Console":
    """A console for notes, progress and errors."""
    from rich.console import Console

    return Console(file=sys.stderr, highlight=False, soft_wrap=True)


def note(text: str, style: str = "") -> None:
    """Print a note to stderr; never read as markup, as it may hold a seller's text."""
    stderr_console().print(printable(text), style=style or None, markup=False)


def print_line(text: str) -> None:
    """Print a line of the result to stdout; never wrapped or cut, as it may be copied."""
    sys.stdout.write(printable(text) + "\n")
    sys.stdout.flush()


def print_json(value: "BaseModel | dict[str, Any] | Sequence[Any]") -> None:
    """Print one line of JSON to stdout."""
    text = json.dumps(value, default=str) if isinstance(value, dict | Sequence) else value.model_dump_json()
    sys.stdout.write(text + "\n")
    sys.stdout.flush()  # a program reads it while `up` goes on
