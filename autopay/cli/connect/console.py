"""Where commands write: results to stdout, remarks to stderr, JSON as one line."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel
from rich.console import Console
from rich.markup import escape
from rich.table import Table

PIPE_WIDTH = 1000
"""Columns when no terminal reads: nothing is wrapped or cut then."""


def stdout_console() -> Console:
    """Results, for people."""
    terminal = sys.stdout.isatty()
    return Console(file=sys.stdout, highlight=False, width=None if terminal else PIPE_WIDTH)


def stderr_console() -> Console:
    """Progress and errors."""
    return Console(file=sys.stderr, highlight=False, soft_wrap=True)


def note(text: str, style: str = "") -> None:
    """A remark; never read as markup, as it may hold a seller's words."""
    stderr_console().print(printable(text), style=style or None, markup=False)


def print_line(text: str) -> None:
    """A line of the result, never wrapped or cut: it may be copied."""
    sys.stdout.write(printable(text) + "\n")
    sys.stdout.flush()


def print_json(value: BaseModel | dict[str, Any] | Sequence[Any]) -> None:
    """One line of JSON on stdout."""
    text = value.model_dump_json() if isinstance(value, BaseModel) else json.dumps(value, default=str)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()  # a program reads it while `up` goes on


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None) -> None:
    """Rows for people; cells are text, never markup."""
    stdout_console().print(make_table(columns, rows, title))


def make_table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None) -> Table:
    """The table that `print_table` prints."""
    table = Table(*columns, title=title, box=None, header_style="bold", title_justify="left", pad_edge=False)
    for row in rows:
        table.add_row(*(escape(printable("" if cell is None else str(cell))) for cell in row))
    return table


def printable(text: str) -> str:
    """Text without control characters: what a seller or an agent's name says must not drive the terminal."""
    return "".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in text)
