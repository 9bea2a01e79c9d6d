"""`agents`: every agent that the ledger knows, with its money, and what its workflow says of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autopay.cli.connect.connections import ledger_of, temporal_of
from autopay.cli.connect.event_loop import run_async
from autopay.cli.terminal.console import note, print_json
from autopay.cli.terminal.exit_codes import examples_help
from autopay.cli.terminal.options import HomeOption, JsonOption, completed_by
from autopay.cli.terminal.tables import print_table
from autopay.client.agents.agent_list import ASKED_AT_MOST, UNKNOWN, AgentLine, agent_line, agent_lines
from autopay.domain.errors import SettingsError
from autopay.domain.money import Currency, show
from autopay.domain.text.command_line import command_line
from autopay.settings import Settings

if TYPE_CHECKING:
    pass

SORTS: Mapping[str, Callable[[AgentLine], Any]] = {
    "name": lambda line: line.name,
    "state": lambda line: (line.state, line.name),
    "today": lambda line: (-sum(line.spent_today_atomic.values()), line.name),
    "spent": lambda line: (-sum(line.spent_atomic.values()), line.name),
    "spendable": lambda line: (sum(line.spendable_atomic.values()), line.name),
    "queue": lambda line: (-line.queued - line.held, line.name),
}
"""Least spendable first, all other numbers largest first; USDC and CASH are added, as both are dollars."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "agents",
        epilog=examples_help("agents", "agents --state paused", "agents --sort spendable --live", "agents --json"),
    )(agents)


def agents(
    state: Annotated[
        str | None, typer.Option(help="Only those in this state: running, paused, stopped, …", show_default=False)
    ] = None,
    sort: Annotated[
        str, typer.Option(autocompletion=completed_by(*SORTS), help=f"Order by {', '.join(SORTS)}.")
    ] = "name",
    live: Annotated[
        bool | None,
        typer.Option(
            "--live/--no-live",
            help="Ask each agent that runs; needs workers.",
            show_default=f"when at most {ASKED_AT_MOST} run",
        ),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List all agents with their state and money.

    State comes from each agent's workflow, money, counts and questions to a person from the ledger, as of this moment:
    the same as `status` and `ledger spend` say. An agent that is asked (--live) also says why it waits and what it
    holds; without that the list says what the ledger knows of it.
    """
    if sort not in SORTS:
        raise typer.BadParameter(f"{sort!r} is not one of {', '.join(SORTS)}", param_hint="--sort")
    lines = run_async(_agents(Settings.load(home=home).resolve("database_url"), state, live=live))
    lines.sort(key=SORTS[sort])
    if as_json:
        print_json([asdict(line) for line in lines])
    elif not lines:
        first = f"there are no agents yet; launch one: {command_line('launch', 'trader')}"
        note("no agent is in that state" if state is not None else first)
    else:
        columns = ("agent", "phase", "state", "spendable", "today", "spent", "payments", "queue", "held", "why")
        print_table(columns, (_cells(line) for line in lines))


def _cells(line: AgentLine) -> Sequence[object]:
    spent = (_amounts(each) for each in (line.spent_today_atomic, line.spent_atomic))
    payments = f"{line.payments}" + (f" + {line.open_payments} open" if line.open_payments else "")
    spendable = ", ".join(_spendable(each) for each in line.spendable)
    return line.name, line.phase, line.state, spendable, *spent, payments, line.queued or "", line.held or "", line.why


def _spendable(each: Mapping[str, Any]) -> str:
    bound = "" if each["limit"] == "none" else f" ({each['limit'].replace('_', ' ')})"
    return f"{show(each['spendable_atomic'], each['currency'])}{bound}"


def _amounts(amounts: Mapping[Currency, int]) -> str:
    return ", ".join(show(amount, currency) for currency, amount in sorted(amounts.items()))


async def _agents(settings: Settings, state: str | None, *, live: bool | None) -> list[AgentLine]:
    from autopay.temporal.connection import TemporalUnreachable

    async with ledger_of(settings) as ledger:
        try:
            lines = await agent_lines(ledger, await temporal_of(settings, ledger), settings.task_queue, live=live)
        except (TemporalUnreachable, SettingsError) as error:
            note(f"states are unknown: {error}", "yellow")
            lines = [agent_line(each, UNKNOWN) for each in await ledger.agents.summaries()]
    return [line for line in lines if state is None or line.state == state.lower()]
