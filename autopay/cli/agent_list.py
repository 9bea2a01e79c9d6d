"""`agents`: every agent that the ledger knows, with its spending, and what Temporal shows of it."""

import asyncio

import typer
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError

from autopay.cli.console import printable, say, show_json, show_table
from autopay.cli.exits import examples
from autopay.cli.invocation import HomeOption, JsonOption, run_async
from autopay.cli.places import ledger_of
from autopay.domain.money import show
from autopay.domain.request import agent_workflow_id
from autopay.settings import Settings, SettingsError
from autopay.temporal import TemporalUnreachable, connect
from workflows.attributes import STATE


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("agents", epilog=examples("agents", "agents --json"))(agents)


def agents(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the agents, their state and spending."""
    rows = run_async(_agents(Settings.load(home=home).resolve("database_url")))
    if as_json:
        show_json(rows)
    elif not rows:
        say("There are no agents yet: starter.py launch NAME")
    else:
        show_table(
            ("agent", "phase", "state", "payments", "open", "spent"),
            (
                (row["name"], row["phase"], row["state"], row["payments"], row["open_payments"], _spent(row))
                for row in rows
            ),
        )


def _spent(row: dict[str, object]) -> str:
    spent = row["spent_atomic"]
    assert isinstance(spent, dict)
    return ", ".join(show(amount, currency) for currency, amount in spent.items())


async def _agents(settings: Settings) -> list[dict[str, object]]:
    async with ledger_of(settings) as ledger:
        found = await ledger.agents()
    try:
        client = await connect(settings)
    except (TemporalUnreachable, SettingsError) as error:
        say(f"states are unknown: {error}", "yellow")
        states = ["unknown"] * len(found)
    else:
        states = list(await asyncio.gather(*(_state(client, each.agent.name) for each in found)))
    return [
        {
            "name": each.agent.name,
            "phase": each.agent.phase,
            "state": state,
            "wallet_address": each.agent.wallet_address,
            "payments": each.payments,
            "open_payments": each.open_payments,
            "spent_atomic": {currency.value: amount for currency, amount in each.spent_atomic.items()},
        }
        for each, state in zip(found, states, strict=True)
    ]


async def _state(client: Client, name: str) -> str:
    """In one word, without asking a worker: the state it has shown, or how its workflow ended."""
    try:
        described = await client.get_workflow_handle(agent_workflow_id(name)).describe()
    except RPCError:
        return "never launched"
    ended = described.status
    if ended is not None and ended is not WorkflowExecutionStatus.RUNNING:
        return "stopped" if ended is WorkflowExecutionStatus.COMPLETED else ended.name.lower()
    shown = described.typed_search_attributes.get(STATE)
    return printable(shown) if shown else "starting"
