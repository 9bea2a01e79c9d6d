"""Rows of the ledger as a table that fits the terminal, as lines of JSON and as CSV."""

import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

import typer
from rich.console import Console

from autopay.cli.terminal.console import stdout_console
from autopay.cli.terminal.exit_codes import ExitCode
from autopay.cli.terminal.tables import FittedTable, show_table
from autopay.domain.money import show, to_atomic, units_text
from autopay.domain.report.rows import PaymentRow, SpendRow, TrailRow

WIDE = 110
"""Columns of a terminal from which times are shown with their year."""

NUMBERS = ("amount", "final", "open")

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
    show_table(FittedTable(names, (_payment_cells(row, to) for row in rows), right=NUMBERS), to)


def print_trail(rows: Sequence[TrailRow], console: Console | None = None) -> None:
    """Print rows of the audit trail as a table."""
    to = console or stdout_console()
    names = ("time (UTC)", "agent", "what", "request", "status", "amount", "endpoint", "transaction")
    show_table(FittedTable(names, (_trail_cells(row, to) for row in rows), right=NUMBERS), to)


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
    show_table(FittedTable((key, *names) if key else names, cells, right=NUMBERS), console)


def _payment_cells(row: PaymentRow, to: Console) -> Sequence[object]:
    status = f"{row.status} {row.error_code}" if row.error_code else row.status
    amount = show(row.amount_atomic, row.currency)
    return (_time(row, to), row.agent, row.request_id, status, amount, row.delivery, row.hash)


def _trail_cells(row: TrailRow, to: Console) -> Sequence[object]:
    status = f"{row.status or ''} {row.error or ''}".strip()
    amount = show(to_atomic(row.amount), row.currency or "") if row.amount is not None else None
    known = (row.agent, row.kind, row.request_id, status, amount, row.endpoint)
    return (_time(row, to), *known, row.hash)


def _time(row: PaymentRow | TrailRow, to: Console) -> str:
    return f"{row.created_at:%F %T}" if to.width >= WIDE else f"{row.created_at:%m-%d %T}"
