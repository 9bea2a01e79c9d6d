"""`ledger export`: every payment into a file, however many there are."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TextIO

import typer
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from autopay.cli.connect.connections import ledger_of
from autopay.cli.connect.event_loop import run_async
from autopay.cli.ledger.filters import (
    AgentOption,
    CurrencyOption,
    EndpointOption,
    MaxOption,
    MinOption,
    SinceOption,
    StatusOption,
    UntilOption,
    filter_of,
)
from autopay.cli.ledger.output import PAYMENT_FIELDS, payment_values, quiet_broken_pipe, write_csv, write_lines
from autopay.cli.terminal.console import note, stderr_console
from autopay.cli.terminal.exit_codes import CommandError, ExitCode, examples_help
from autopay.cli.terminal.options import HomeOption
from autopay.domain.report.filter import Filter
from autopay.settings import Settings


class Format(StrEnum):
    """What an export is written as."""

    CSV = "csv"
    JSONL = "jsonl"


def register(ledger: typer.Typer) -> None:
    """Add the command to the group `ledger`."""
    shown = examples_help(
        "ledger export --out payments.csv", "ledger export --format jsonl --agent trader --since 30d | gzip"
    )
    ledger.command("export", epilog=shown)(export)


def export(
    format_: Annotated[
        Format, typer.Option("--format", help="CSV with a header, or a line of JSON for each payment.")
    ] = Format.CSV,
    target: Annotated[
        Path | None, typer.Option("--out", help="Write to this file.", show_default="stdout", dir_okay=False)
    ] = None,
    agent: AgentOption = None,
    endpoint: EndpointOption = None,
    status: StatusOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    minimum: MinOption = None,
    maximum: MaxOption = None,
    currency: CurrencyOption = None,
    home: HomeOption = None,
) -> None:
    """Write every payment to stdout or a file.

    The newest come first. Each payment is written with its status at that moment; payments that are recorded after the
    export began are left out. A file of that name is replaced when the export is complete.
    """
    wanted = filter_of(agent, endpoint, status, since, until, minimum, maximum, currency)
    settings = Settings.load(home=home).resolve("database_url")
    with quiet_broken_pipe(), _opened(target) as stream:
        count = run_async(_export(settings, wanted, format_, stream))
    note(f"{count} payments" + (f" in {target}" if target is not None else ""), "green")


async def _export(settings: Settings, wanted: Filter, format_: Format, stream: TextIO) -> int:
    count = 0
    columns = (TextColumn("exporting"), TextColumn("{task.completed} payments"), TimeElapsedColumn())
    hidden = not sys.stderr.isatty()
    with Progress(*columns, console=stderr_console(), transient=True, disable=hidden) as progress:
        task = progress.add_task("", total=None)
        async with ledger_of(settings, wanted.agent) as opened:
            first = True
            async for batch in opened.reports.every_payment(wanted):
                rows = [payment_values(row) for row in batch]
                if format_ is Format.CSV:
                    write_csv(rows, stream, PAYMENT_FIELDS, header=first)
                else:
                    write_lines(rows, stream)
                first, count = False, count + len(rows)
                progress.update(task, completed=count)
    return count


@contextmanager
def _opened(target: Path | None) -> Iterator[TextIO]:
    """Stdout, or a file that appears when all of it is written."""
    if target is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    partial = target.with_name(f"{target.name}.partial")
    try:
        with partial.open("w", encoding="utf-8", newline="") as stream:
            yield stream
        partial.replace(target)
    except OSError as error:
        raise CommandError(f"{target}: {error.strerror}", ExitCode.FAULT) from None
    finally:
        with suppress(OSError):  # what could not be made, by its name or its place, need not be removed
            partial.unlink(missing_ok=True)
