"""Tables that fit the terminal, and of which every value can be copied: nothing is cut, and no word is broken.

A row is one line where all of it fits. Where not, its last cells stand below it, each after the name of its column. A
word that is longer than a line, like a signature, is written whole: the terminal wraps it, and copies it as one.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from autopay.cli.terminal.console import stdout_console
from autopay.domain.text.printable import printable

GAP, INDENT = 2, 2
NARROWEST_LAST = 24
"""Columns of the terminal that the last cell of a row needs at least to be wrapped beside the others."""

Line = tuple[str, str]
"""A line and its style."""


class FittedTable:
    """A table for any width; cells are text, never markup.

    Args:
        columns: their names, for the head and for the cells that stand below their row.
        rows: a cell for each column; None is an empty cell.
        title: a line above it.
        right: names of columns of numbers, which are aligned at their right.
    """

    def __init__(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[object]],
        title: str | None = None,
        right: Collection[str] = (),
    ) -> None:
        self.columns = tuple(columns)
        self.rows = [[_cell(each) for each in row] for row in rows]
        self.title = title
        self._right = frozenset(right)

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        for line, style in self.lines(options.max_width):
            yield Text(line, style=style)

    def lines(self, width: int) -> Iterator[Line]:
        """All lines, for a terminal of that many columns."""
        if self.title is not None:
            yield self.title, "italic"
        widths = [max(map(cell_len, column)) for column in zip(self.columns, *self.rows, strict=True)]
        beside = _how_many_fit(widths, width)
        last = self._room_for_the_last(widths, width) if beside == len(widths) - 1 else 0
        yield self._line(self.columns if last else self.columns[:beside], widths), "bold"
        for row in self.rows:
            if last:
                yield from self._with_the_last_wrapped(row, widths, last)
                continue
            together = self._line(row[:beside], widths)
            for line in wrapped(together, width) if beside == 1 else [together]:
                yield line, ""
            for line in _below(zip(self.columns[beside:], row[beside:], strict=True), width):
                yield line, ""

    def _room_for_the_last(self, widths: Sequence[int], width: int) -> int:
        """Columns left for the last cell when it may be wrapped at its spaces there; else 0."""
        room = width - sum(widths[:-1]) - GAP * (len(widths) - 1)
        texts = (self.columns[-1], *(row[-1] for row in self.rows))
        longest = max(cell_len(word) for text in texts for word in _words(text))
        return room if room >= max(longest, NARROWEST_LAST) else 0

    def _with_the_last_wrapped(self, row: Sequence[str], widths: Sequence[int], room: int) -> Iterator[Line]:
        first, *others = wrapped(row[-1], room)
        yield self._line([*row[:-1], first], widths), ""
        left = " " * (sum(widths[:-1]) + GAP * (len(widths) - 1))
        for each in others:
            yield f"{left}{each}", ""

    def _line(self, cells: Sequence[str], widths: Sequence[int]) -> str:
        filled = []
        for name, cell, width in zip(self.columns, cells, widths, strict=False):
            space = " " * max(width - cell_len(cell), 0)
            filled.append(f"{space}{cell}" if name in self._right else f"{cell}{space}")
        return (" " * GAP).join(filled).rstrip()


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None, right: Collection[str] = ()
) -> None:
    """Print a table to stdout."""
    show_table(FittedTable(columns, rows, title, right))


def show_table(table: FittedTable, console: Console | None = None) -> None:
    """Print it; rich breaks no line, and cuts none."""
    (console or stdout_console()).print(table, soft_wrap=True)


def wrapped(text: str, width: int) -> list[str]:
    """The text in lines of at most `width` columns, broken at spaces only; a longer word has a line of its own."""
    if cell_len(text) <= width:
        return [text]
    lines: list[str] = []
    for word in _words(text):
        if lines and cell_len(lines[-1]) + 1 + cell_len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _how_many_fit(widths: Sequence[int], available: int) -> int:
    """How many of the first columns stand beside each other; at least one."""
    taken = widths[0]
    for count, width in enumerate(widths[1:], 1):
        taken += GAP + width
        if taken > available:
            return count
    return len(widths)


def _below(cells: Iterable[tuple[str, str]], width: int) -> Iterator[str]:
    """The named cells, as many to a line as fit; one that is too long for a line is broken at its spaces."""
    room = max(width - INDENT, 1)
    line = ""
    for text in (f"{name} {cell}".strip() for name, cell in cells if cell):
        if line and cell_len(line) + GAP + cell_len(text) <= room:
            line += " " * GAP + text
            continue
        first, *others = wrapped(text, room)
        if line and others and cell_len(line) + GAP + cell_len(first) <= room:
            first = f"{line}{' ' * GAP}{first}"
        elif line:
            yield " " * INDENT + line
        *full, line = [first, *others]
        for each in full:
            yield " " * INDENT + each
    if line:
        yield " " * INDENT + line


def _words(text: str) -> list[str]:
    return text.split(" ") if text.strip() else [""]


def _cell(value: object) -> str:
    """A cell in one line."""
    return printable(" ".join(("" if value is None else str(value)).splitlines()).replace("\t", " "))
