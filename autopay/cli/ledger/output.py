"""Rows of the ledger as a table that fits the terminal, as lines of JSON and as CSV."""

import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

import typer
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from autopay.cli.connect.console import printable, stdout_console
from autopay.cli.connect.exit_codes import ExitCode
from autopay.domain.money import show, to_atomic, units_text
from autopay.domain.report.rows import PaymentRow, SpendRow, TrailRow

WIDE = 110
"""Columns from which a row is one line; in a narrower terminal its last two cells are a second one."""

PAYMENT_FIELDS = (*(name for name in PaymentRow.model_fields if name != "amount_atomic"), "amount", "cursor")
TRAIL_FIELDS = (*TrailRow.model_fields, "cursor")
SPEND_FIELDS = (
    "key",
    "network",
    "currency",
    "settled",
    "settled_payments",
    "open",
    "open_payments",
    "failed_payments",
)

_NARROWEST = 6
_NEVER_CUT = ("time", "amount", "final", "open")


def payment_values(row: PaymentRow) -> dict[str, Any]:
    """A payment for programs: the amount in token units, and the cursor that the next page comes after."""
    values = row.model_dump(mode="json")
    return values | {"amount": units_text(values.pop("amount_atomic")), "cursor": row.cursor}


def trail_values(row: TrailRow) -> dict[str, Any]:
    """A row of the audit trail for programs."""
    return row.model_dump(mode="json") | {"cursor": row.cursor}


def spend_values(row: SpendRow) -> dict[str, Any]:
    """A sum for programs, in token units."""
    values = row.model_dump(mode="json")
    amounts = {name: units_text(values.pop(f"{name}_atomic")) for name in ("settled", "open")}
    return {
        "key": row.key,
        "network": values["network"],
        "currency": values["currency"],
        "settled": amounts["settled"],
        "settled_payments": row.settled,
        "open": amounts["open"],
        "open_payments": row.open,
        "failed_payments": row.failed,
    }


def write_lines(rows: Iterable[Mapping[str, Any]], stream: TextIO) -> None:
    """A line of JSON for each."""
    stream.writelines(json.dumps(row) + "\n" for row in rows)


def write_csv(rows: Iterable[Mapping[str, Any]], stream: TextIO, fields: Sequence[str], *, header: bool = True) -> None:
    """A line of CSV for each row, after one with the fields' names."""
    writer = csv.DictWriter(stream, fields, lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)


@contextmanager
def quiet_broken_pipe() -> Iterator[None]:
    """End the command without an error when the reader of its output goes away, like `| head`."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still buffered goes nowhere
        raise typer.Exit(ExitCode.OK) from None


def print_payments(rows: Sequence[PaymentRow], console: Console | None = None) -> None:
    """Print payments as a table."""
    to = console or stdout_console()
    names = ("time (UTC)", "agent", "request", "status", "amount", "delivery", "transaction")
    _show(to, names, [_payment_cells(row, to) for row in rows], second_line=2)


def print_trail(rows: Sequence[TrailRow], console: Console | None = None) -> None:
    """Print rows of the audit trail as a table."""
    to = console or stdout_console()
    names = ("time (UTC)", "agent", "what", "request", "status", "amount", "endpoint", "transaction")
    _show(to, names, [_trail_cells(row, to) for row in rows], second_line=2)


def print_spend(rows: Sequence[SpendRow], key: str | None, console: Console | None = None) -> None:
    """Print sums; what is final and what is open are never added up."""
    names = ("network", "final", "payments", "open", "open payments", "failed payments")
    cells = [
        (
            *((row.key or "-",) if key else ()),
            row.network.value,
            show(row.settled_atomic, row.currency),
            row.settled,
            show(row.open_atomic, row.currency) if row.open else "",
            row.open or "",
            row.failed or "",
        )
        for row in rows
    ]
    _show(console or stdout_console(), (key, *names) if key else names, cells)


def _payment_cells(row: PaymentRow, to: Console) -> Sequence[object]:
    status = f"{row.status} {row.error_code}" if row.error_code else row.status
    amount = show(row.amount_atomic, row.currency)
    return (_time(row, to), row.agent, row.request_id, status, amount, row.delivery, _shown_hash(row.hash, to))


def _trail_cells(row: TrailRow, to: Console) -> Sequence[object]:
    status = f"{row.status or ''} {row.error or ''}".strip()
    amount = show(to_atomic(row.amount), row.currency or "") if row.amount is not None else None
    known = (row.agent, row.kind, row.request_id, status, amount, row.endpoint)
    return (_time(row, to), *known, _shown_hash(row.hash, to))


def _time(row: PaymentRow | TrailRow, to: Console) -> str:
    return f"{row.created_at:%F %T}" if to.width >= WIDE else f"{row.created_at:%m-%d %T}"


def _show(to: Console, names: Sequence[str], rows: Sequence[Sequence[object]], second_line: int = 0) -> None:
    """Print the table. In a narrow terminal the last `second_line` cells of a row stand below it, by their names."""
    cells = [[printable("" if cell is None else str(cell)) for cell in row] for row in rows]
    if second_line and to.width < WIDE:
        _show_in_two_lines(to, names, cells, len(names) - second_line)
        return
    widths = _widths(to, names, cells)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name, width in zip(names, widths, strict=True):
        number = name in ("amount", "final", "open")
        table.add_column(name, no_wrap=True, overflow="ellipsis", width=width, justify="right" if number else "left")
    for row in cells:
        table.add_row(*map(escape, row))
    to.print(table)


def _show_in_two_lines(to: Console, names: Sequence[str], cells: Sequence[Sequence[str]], first: int) -> None:
    widths = _widths(to, names[:first], [row[:first] for row in cells])
    to.print(Text(_line(names[:first], widths), style="bold"), no_wrap=True, overflow="ellipsis")
    for row in cells:
        to.print(Text(_line(row[:first], widths)), no_wrap=True, overflow="ellipsis")
        below = "  ".join(f"{name} {cell}" for name, cell in zip(names[first:], row[first:], strict=True) if cell)
        if below:
            to.print(Text(f"  {below}", style="dim"), overflow="fold")


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Cells side by side; what is too long for its column ends in an ellipsis."""
    fitted = (
        set_cell_size(cell, width) if cell_len(cell) <= width else f"{set_cell_size(cell, width - 1)}…"
        for cell, width in zip(cells, widths, strict=True)
    )
    return "  ".join(fitted).rstrip()


def _widths(to: Console, names: Sequence[str], cells: Sequence[Sequence[str]]) -> Sequence[int]:
    return _fitting([max(map(cell_len, column)) for column in zip(names, *cells, strict=True)], names, to.width)


def _fitting(widths: list[int], names: Sequence[str], available: int) -> Sequence[int]:
    """Widths of the columns, with the widest texts cut until a row fits; times and amounts are never cut."""
    texts = [place for place, name in enumerate(names) if name.split()[0] not in _NEVER_CUT]
    while texts and sum(widths) + 2 * (len(widths) - 1) > available:
        widest = max(texts, key=lambda place: widths[place])
        if widths[widest] <= _NARROWEST:
            break
        widths[widest] -= 1
    return widths


def _shown_hash(signature: str | None, to: Console) -> str | None:
    """The beginning of a signature on a terminal, where 88 characters do not fit a row; all of it in a pipe."""
    return f"{signature[:12]}…" if signature and to.width < len(signature) * 3 else signature
