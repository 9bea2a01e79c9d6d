"""`agents`: every agent that the ledger knows, with its money, and what its workflow says of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autopay.cli.agent.agent_view import agent_view
from autopay.cli.connect.connections import ledger_of, temporal_of
from autopay.cli.connect.event_loop import run_async
from autopay.cli.terminal.console import note, print_json
from autopay.cli.terminal.exit_codes import examples_help
from autopay.cli.terminal.options import HomeOption, JsonOption, completed_by
from autopay.cli.terminal.tables import print_table
from autopay.domain.agent.records import AgentSummary, SpendableRecord
from autopay.domain.agent.spending import spending
from autopay.domain.agent.status import AgentState, AgentStatus
from autopay.domain.errors import SettingsError
from autopay.domain.money import Currency, show
from autopay.domain.text.command_line import command_line
from autopay.settings import Settings

if TYPE_CHECKING:
    from temporalio.client import Client

    from autopay.adapters.postgres import PostgresLedger

UNKNOWN = "unknown"
ENDED_BADLY = frozenset({"terminated", "failed", "timed_out", "canceled"})

ASKED_AT_MOST = 20
"""So many running agents are asked themselves unless the command says otherwise; of more, the list is the ledger's."""

QUICK_S = 3.0
"""How long an agent may take to answer when nobody asked for its own answer."""


@dataclass(frozen=True)
class AgentLine:
    """One agent in the list; amounts in base units. `why` is what it waits for, `held` counts requests that wait for
    a person or the chain; `spendable` has each currency's limits, and which of them binds.

    With `live` the agent has answered, and the line says what `status` says. Else `why` is what the ledger knows of
    it, which the agent may have written some moments ago; money and state are those of `status` in any case.
    """

    name: str
    phase: str
    state: str
    why: str | None
    spendable_atomic: dict[Currency, int]
    spendable: list[dict[str, Any]]
    spent_today_atomic: dict[Currency, int]
    spent_atomic: dict[Currency, int]
    open_atomic: dict[Currency, int]
    payments: int
    open_payments: int
    queued: int
    held: int
    live: bool
    wallet_address: str


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
            lines = [_line(each, UNKNOWN) for each in await ledger.agents.summaries()]
    return [line for line in lines if state is None or line.state == state.lower()]


async def agent_lines(
    ledger: PostgresLedger, client: Client, task_queue: str, *, live: bool | None = None
) -> list[AgentLine]:
    """Every agent, as it is now; with `live` each that runs is asked, unless told otherwise only a few of them."""
    from autopay.client.agents.states import ALIVE, states_of, statuses_of

    states = await states_of(client, [each.agent.name for each in await ledger.agents.summaries()])
    asked = [name for name, now in states.items() if now in ALIVE]
    answers: dict[str, AgentStatus | None] = {}
    if live or (live is None and len(asked) <= ASKED_AT_MOST):
        answers = await statuses_of(client, asked, task_queue, None if live else QUICK_S)
    found = await ledger.agents.summaries()  # after the agents, as `status` reads them
    return [_told(each, states.get(each.agent.name, UNKNOWN), answers, live=bool(live)) for each in found]


def _told(each: AgentSummary, state: str, answers: Mapping[str, AgentStatus | None], *, live: bool) -> AgentLine:
    """The line of an agent with what it answered, if it was asked and did."""
    answer = answers.get(each.agent.name)
    if answer is not None:
        return _live_line(each, answer)
    line = _line(each, state)
    return replace(line, why="does not answer") if live and each.agent.name in answers else line


def _line(each: AgentSummary, state: str) -> AgentLine:
    """By the ledger alone."""
    spendable = spending(each.sessions, each.readings, each.policy, each.at)
    return AgentLine(
        name=each.agent.name,
        phase=each.agent.phase,
        state=state,
        why="; ".join(_why(each, spendable, state)) or None,
        spendable_atomic={record.currency: record.spendable_atomic for record in spendable},
        spendable=[record.model_dump(mode="json") for record in spendable],
        spent_today_atomic=each.spent_today_atomic,
        spent_atomic=each.spent_atomic,
        open_atomic=each.open_atomic,
        payments=each.payments,
        open_payments=each.open_payments,
        queued=each.queued,
        held=each.asked,
        live=False,
        wallet_address=each.agent.wallet_address,
    )


def _live_line(each: AgentSummary, answer: AgentStatus) -> AgentLine:
    """As `status` has it: from the same view."""
    view = agent_view(answer, each)
    told = view.as_json()
    return replace(
        _line(each, view.status.state.value),
        why=view.status.reason,
        spendable_atomic={record.currency: record.spendable_atomic for record in view.spendable},
        spendable=told["spendable"],
        queued=len(view.status.queued),
        held=len(view.status.held),
        live=True,
    )


def _why(each: AgentSummary, spendable: Sequence[SpendableRecord], state: str) -> Iterator[str]:
    """What an agent waits for, as far as the ledger knows."""
    if state == AgentState.PAUSED:
        if each.pause is not None:
            yield each.pause
        elif spendable and all(record.pauses for record in spendable):
            yield from (_shortage(record) for record in spendable)
        else:
            yield f"see: {command_line('status', each.agent.name)}"
    if each.asked and state in set(AgentState):
        yield f"{each.asked} wait for approval"
    if state in ENDED_BADLY:
        yield f"bring it back: {command_line('revive', each.agent.name)}"


def _shortage(record: SpendableRecord) -> str:
    needed = record.needed_atomic or 0
    if record.problem is None and record.spendable_atomic >= needed:
        return f"{show(needed, record.currency)} needed at its last reading; there is enough by now"
    have = record.problem or f"{show(record.spendable_atomic, record.currency)} spendable"
    return f"{have}, {show(needed, record.currency)} needed"
