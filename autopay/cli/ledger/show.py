"""`ledger show`: every payment, with what it was for and its status."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Annotated

import typer

from autopay.cli.connect.connections import ledger_of
from autopay.cli.connect.event_loop import run_async
from autopay.cli.ledger.filters import (
    AgentOption,
    CsvOption,
    CurrencyOption,
    EndpointOption,
    LinesOption,
    MaxOption,
    MinOption,
    SinceOption,
    StatusOption,
    UntilOption,
    cursor_of,
    filter_of,
)
from autopay.cli.ledger.output import (
    PAYMENT_FIELDS,
    TRAIL_FIELDS,
    payment_values,
    print_payments,
    print_trail,
    quiet_broken_pipe,
    trail_values,
    write_csv,
    write_lines,
)
from autopay.cli.terminal.console import note
from autopay.cli.terminal.exit_codes import examples_help
from autopay.cli.terminal.options import HomeOption
from autopay.domain.report.filter import Filter, Page
from autopay.domain.report.rows import PaymentRow, TrailRow
from autopay.settings import Settings


def register(ledger: typer.Typer) -> None:
    """Add the command to the group `ledger`."""
    shown = examples_help(
        "ledger show",
        "ledger show --agent trader --since 2h --status FAILED",
        "ledger show --endpoint '/api/*' --min 0.01 --limit 200 --json",
        "ledger show --kind all --since yesterday",
    )
    ledger.command("show", epilog=shown)(show)


class Kind(StrEnum):
    """What `ledger show` lists."""

    PAYMENTS = "payments"
    ALL = "all"


def show(
    agent: AgentOption = None,
    endpoint: EndpointOption = None,
    status: StatusOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    minimum: MinOption = None,
    maximum: MaxOption = None,
    currency: CurrencyOption = None,
    kind: Annotated[Kind, typer.Option(help="Payments only, or also requests and balances.")] = Kind.PAYMENTS,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many.")] = 50,
    after: Annotated[
        str | None, typer.Option(help="Start after this cursor, which the page before printed.", metavar="CURSOR")
    ] = None,
    home: HomeOption = None,
    as_json: LinesOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Show payments, the newest first.

    When there are more, the last line on stderr has the cursor of the next page; with --json each line has its own.
    """
    if as_json and as_csv:
        raise typer.BadParameter("give --json or --csv, not both")
    payments = kind is Kind.PAYMENTS
    wanted = filter_of(agent, endpoint, status, since, until, minimum, maximum, currency, payments=payments)
    cursor = None if after is None else cursor_of(after)
    settings = Settings.load(home=home).resolve("database_url")
    with quiet_broken_pipe():
        if payments:
            _show_payments(run_async(_payments(settings, wanted, cursor, limit)), as_json, as_csv)
        else:
            _show_trail(run_async(_trail(settings, wanted, cursor, limit)), as_json, as_csv)


async def _payments(settings: Settings, wanted: Filter, after: str | None, limit: int) -> Page[PaymentRow]:
    async with ledger_of(settings, wanted.agent) as opened:
        return await opened.reports.payments(wanted, after=after, limit=limit)


async def _trail(settings: Settings, wanted: Filter, after: str | None, limit: int) -> Page[TrailRow]:
    async with ledger_of(settings, wanted.agent) as opened:
        return await opened.reports.trail(wanted, after=after, limit=limit)


def _show_payments(page: Page[PaymentRow], as_json: bool, as_csv: bool) -> None:
    if as_json or as_csv:
        _write(map(payment_values, page.rows), PAYMENT_FIELDS, as_csv)
    elif page.rows:
        print_payments(page.rows)
    else:
        note("there is no such payment")
    _tell_next(page.next)


def _show_trail(page: Page[TrailRow], as_json: bool, as_csv: bool) -> None:
    if as_json or as_csv:
        _write(map(trail_values, page.rows), TRAIL_FIELDS, as_csv)
    elif page.rows:
        print_trail(page.rows)
    else:
        note("there are no such rows")
    _tell_next(page.next)


def _write(rows: Iterable[Mapping[str, object]], fields: Sequence[str], as_csv: bool) -> None:
    if as_csv:
        write_csv(rows, sys.stdout, fields)
    else:
        write_lines(rows, sys.stdout)


def _tell_next(cursor: str | None) -> None:
    if cursor is not None:
        note(f"there are more: --after {cursor}")
