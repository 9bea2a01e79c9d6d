"""The group `ledger`, and `ledger show`: every payment, with what it was for and what came of it."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from autopay.adapters.ledger.records import TimelineRow
from autopay.cli import disputes, reconcile
from autopay.cli.console import say, show_json, show_table
from autopay.cli.exits import examples
from autopay.cli.invocation import HomeOption, JsonOption, run_async
from autopay.cli.options import agent_name
from autopay.cli.places import known_agent, ledger_of
from autopay.domain.money import show as show_amount
from autopay.settings import Settings

ledger = typer.Typer(help="What was paid, and for what.", no_args_is_help=True)


@ledger.callback()
def _ledger() -> None:
    """What was paid, and for what."""


for module in (reconcile, disputes):
    module.register(ledger)


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(ledger, name="ledger")


@ledger.command(epilog=examples("ledger show", "ledger show --agent trader --limit 200 --json"))
def show(
    agent: Annotated[str | None, typer.Option(help="Of this agent only.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many, the newest first.")] = 50,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show payments, the newest first."""
    name = None if agent is None else agent_name(agent)
    rows = run_async(_timeline(Settings.load(home=home).resolve("database_url"), name, limit))
    if as_json:
        show_json([row.model_dump(mode="json") for row in rows])
    elif not rows:
        say("Nothing was paid yet.")
    else:
        show_table(
            ("time (UTC)", "agent", "request", "status", "amount", "delivery", "transaction"),
            (_cells(row) for row in rows),
        )


async def _timeline(settings: Settings, agent: str | None, limit: int) -> Sequence[TimelineRow]:
    async with ledger_of(settings) as opened:
        if agent is not None:
            await known_agent(opened, agent)
        return await opened.timeline(agent, limit)


def _cells(row: TimelineRow) -> Sequence[object]:
    status = f"{row.status} {row.error_code}" if row.error_code else row.status
    amount = show_amount(row.amount_atomic, row.currency)
    return (f"{row.created_at:%F %T}", row.agent, row.request_id, status, amount, row.delivery, _shown_hash(row.hash))


def _shown_hash(signature: str | None) -> str | None:
    """Its beginning on a terminal, where 88 characters do not fit a row; all of it in a pipe."""
    return f"{signature[:12]}…" if signature and sys.stdout.isatty() else signature
