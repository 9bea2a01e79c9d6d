"""`ledger spend`: what was spent, by day, endpoint, seller, payee or agent."""

import sys
from collections.abc import Sequence
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
    filter_of,
)
from autopay.cli.ledger.output import SPEND_FIELDS, print_spend, spend_values, write_csv, write_lines
from autopay.cli.terminal.console import note
from autopay.cli.terminal.exit_codes import examples_help
from autopay.cli.terminal.options import HomeOption
from autopay.domain.report.filter import Filter, SpendBy
from autopay.domain.report.rows import SpendRow
from autopay.settings import Settings


def register(ledger: typer.Typer) -> None:
    """Add the command to the group `ledger`."""
    shown = examples_help("ledger spend --since today", "ledger spend --by endpoint --agent trader --json")
    ledger.command("spend", epilog=shown)(spend)


def spend(
    by: Annotated[SpendBy | None, typer.Option(help="One line for each; days are UTC.")] = None,
    agent: AgentOption = None,
    endpoint: EndpointOption = None,
    status: StatusOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    minimum: MinOption = None,
    maximum: MaxOption = None,
    currency: CurrencyOption = None,
    home: HomeOption = None,
    as_json: LinesOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Sum up what was spent, each currency by itself.

    Final is spent for good on chain. Open is pending or confirmed: it may become final or fail. Failed payments cost
    nothing. The last lines are totals, which --json and --csv leave out.
    """
    if as_json and as_csv:
        raise typer.BadParameter("give --json or --csv, not both")
    wanted = filter_of(agent, endpoint, status, since, until, minimum, maximum, currency)
    rows = run_async(_spend(Settings.load(home=home).resolve("database_url"), wanted, by))
    if as_json:
        write_lines(map(spend_values, rows), sys.stdout)
    elif as_csv:
        write_csv(map(spend_values, rows), sys.stdout, SPEND_FIELDS)
    elif not rows:
        note("there is no such payment")
    else:
        shown = [*rows, *totals(rows)] if by is not None else rows
        print_spend(shown, by.value if by is not None else None)


def totals(rows: Sequence[SpendRow]) -> Sequence[SpendRow]:
    """A row for each network and currency, called "total"."""
    found: dict[tuple[str, str], SpendRow] = {}
    summed = ("settled_atomic", "settled", "open_atomic", "open", "failed")
    for row in rows:
        kept = found.get((row.network, row.currency))
        update = {name: getattr(row, name) + (getattr(kept, name) if kept else 0) for name in summed}
        found[row.network, row.currency] = row.model_copy(update=update | {"key": "total"})
    return [found[key] for key in sorted(found)]


async def _spend(settings: Settings, wanted: Filter, by: SpendBy | None) -> Sequence[SpendRow]:
    async with ledger_of(settings, wanted.agent) as opened:
        return (await opened.reports.spend(wanted, by)).rows
