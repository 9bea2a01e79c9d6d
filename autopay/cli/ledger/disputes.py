"""`ledger disputes`: requests that were paid and are undelivered."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from autopay.cli.connect.connections import known_agent, ledger_of
from autopay.cli.connect.console import note, print_json, print_table
from autopay.cli.connect.event_loop import run_async
from autopay.cli.connect.exit_codes import examples_help
from autopay.cli.connect.options import HomeOption, JsonOption, agent_name
from autopay.domain.money import show, units_text
from autopay.domain.report.rows import DisputeRow
from autopay.settings import Settings


def register(ledger: typer.Typer) -> None:
    """Add the command to the group `ledger`."""
    shown = examples_help("ledger disputes", "ledger disputes --agent trader --json")
    ledger.command("disputes", epilog=shown)(disputes)


def disputes(
    agent: Annotated[str | None, typer.Option(help="Only this agent's.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List undelivered requests: paid, without content.

    The newest come first. The transaction proves the payment. `retry` asks the seller once more, without paying again.
    """
    name = None if agent is None else agent_name(agent)
    rows = run_async(_disputes(Settings.load(home=home).resolve("database_url"), name))
    if as_json:
        print_json([_json(row) for row in rows])
    elif not rows:
        note("everything that was paid is delivered")
    else:
        print_table(
            ("ended (UTC)", "agent", "request", "amount", "last answer", "url", "transaction"),
            (_cells(row) for row in rows),
        )
        note("to ask the seller once more, without paying: starter.py retry REQUEST --agent AGENT")


async def _disputes(settings: Settings, agent: str | None) -> Sequence[DisputeRow]:
    async with ledger_of(settings) as opened:
        if agent is not None:
            await known_agent(opened, agent)
        return await opened.reports.disputes(agent)


def _json(row: DisputeRow) -> dict[str, object]:
    return row.model_dump(mode="json", exclude={"amount_atomic"}) | {"amount": units_text(row.amount_atomic)}


def _cells(row: DisputeRow) -> Sequence[object]:
    answer = f"HTTP {row.http_status}" if row.http_status is not None else "none"
    cut = sys.stdout.isatty() and row.transaction
    transaction = f"{row.transaction[:12]}…" if cut and row.transaction else row.transaction
    when = f"{row.when:%F %T}" if row.when else None
    return (when, row.agent, row.request_id, show(row.amount_atomic, row.currency), answer, row.url, transaction)
