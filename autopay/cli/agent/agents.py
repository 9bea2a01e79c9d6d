"""`agents`: every agent that the ledger knows, with its money, and what Temporal shows of it."""

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any

import typer
from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus
from temporalio.service import RPCError

from autopay.cli.connect.agent_handle import AgentHandle, temporal_error
from autopay.cli.connect.connections import ledger_of
from autopay.cli.connect.console import note, print_json, printable
from autopay.cli.connect.event_loop import run_async
from autopay.cli.connect.exit_codes import CommandError, examples_help
from autopay.cli.connect.options import HomeOption, JsonOption
from autopay.cli.connect.tables import print_table
from autopay.domain.agent.records import AgentSummary
from autopay.domain.agent.status import AgentState, AgentStatus
from autopay.domain.command_line import command_line
from autopay.domain.money import Currency, show
from autopay.domain.request import agent_workflow_id
from autopay.settings import Settings, SettingsError
from autopay.temporal.attributes import STATE
from autopay.temporal.connection import TemporalUnreachable, connect

UNKNOWN = "unknown"

RUNNING = "WorkflowType = 'Agent' AND ExecutionStatus = 'Running'"
ENDED = "WorkflowType = 'Agent' AND ExecutionStatus != 'Running' AND ExecutionStatus != 'ContinuedAsNew'"
MAX_ENDED = 2_000
"""Of runs that have ended only the newest are read; an agent whose run is older counts as never launched."""

AT_ONCE = 8


@dataclass(frozen=True)
class AgentLine:
    """One agent in the list; amounts in base units. `why` is what it waits for, `held` counts requests that wait for
    a person or the chain. Both are what the ledger knows, or with `live` what the agent itself answered."""

    name: str
    phase: str
    state: str
    why: str | None
    spendable_atomic: dict[Currency, int]
    spent_today_atomic: dict[Currency, int]
    spent_atomic: dict[Currency, int]
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
    sort: Annotated[str, typer.Option(help=f"Order by {', '.join(SORTS)}.")] = "name",
    live: Annotated[bool, typer.Option("--live", help="Ask each agent that runs; needs workers.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List all agents with their state and money.

    The list comes from the ledger and from Temporal's visibility store, for hundreds at once, and may be seconds old.
    With --live each agent is asked why it waits, what it can spend and what it holds.
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
    spent = (_amounts(each) for each in (line.spendable_atomic, line.spent_today_atomic, line.spent_atomic))
    payments = f"{line.payments}" + (f" + {line.open_payments} open" if line.open_payments else "")
    return line.name, line.phase, line.state, *spent, payments, line.queued or "", line.held or "", line.why


def _amounts(amounts: Mapping[Currency, int]) -> str:
    return ", ".join(show(amount, currency) for currency, amount in sorted(amounts.items()))


async def _agents(settings: Settings, state: str | None, *, live: bool) -> list[AgentLine]:
    async with ledger_of(settings) as ledger:
        found = await ledger.agents.summaries()
    names = [each.agent.name for each in found]
    try:
        client = await connect(settings)
    except (TemporalUnreachable, SettingsError) as error:
        note(f"states are unknown: {error}", "yellow")
        return [line for each in found if (line := _line(each, UNKNOWN)).state == (state or UNKNOWN)]
    states = await states_of(client, names)
    lines = [_line(each, states[each.agent.name]) for each in found]
    if live:
        asked = [line.name for line in lines if line.state in set(AgentState) | {"starting"}]
        statuses = await statuses_of(client, asked, settings.task_queue)
        lines = [_with_status(line, statuses.get(line.name)) if line.name in asked else line for line in lines]
    return [line for line in lines if state is None or line.state == state.lower()]


def _line(each: AgentSummary, state: str) -> AgentLine:
    return AgentLine(
        name=each.agent.name,
        phase=each.agent.phase,
        state=state,
        why="; ".join(_why(each, state)) or None,
        spendable_atomic={record.currency: record.spendable_atomic for record in each.spendable},
        spent_today_atomic=each.spent_today_atomic,
        spent_atomic=each.spent_atomic,
        payments=each.payments,
        open_payments=each.open_payments,
        queued=each.queued,
        held=each.asked,
        live=False,
        wallet_address=each.agent.wallet_address,
    )


def _why(each: AgentSummary, state: str) -> Iterator[str]:
    """What an agent waits for, as far as the ledger knows."""
    if state == AgentState.PAUSED:
        is_short = bool(each.spendable) and all(record.pauses for record in each.spendable)
        for record in each.spendable if is_short else ():
            needed = show(record.needed_atomic or 0, record.currency)
            have = record.problem or f"{show(record.spendable_atomic, record.currency)} spendable"
            yield f"{have}, {needed} needed"
        if not is_short:
            yield f"by a person: {command_line('status', each.agent.name)}"
    if each.asked and state in set(AgentState):
        yield f"{each.asked} wait for approval"


def _with_status(line: AgentLine, status: AgentStatus | None) -> AgentLine:
    """The line with what the agent answered, if it did."""
    if status is None:
        return replace(line, why="does not answer")
    return replace(
        line,
        state=status.state.value,
        phase=status.phase.value,
        why=status.reason,
        spendable_atomic={each.currency: each.spendable_atomic for each in status.spendable},
        queued=len(status.queued),
        held=len(status.held),
        live=True,
    )


async def states_of(client: Client, names: Collection[str]) -> dict[str, str]:
    """The last known state of each agent, or how its workflow ended; `never launched` without a workflow.

    Queries Temporal's visibility store once, and once more if some do not run; it may be a second behind.

    Raises:
        CommandError: Temporal answers with an error.
    """
    wanted = {agent_workflow_id(name): name for name in names}
    found: dict[str, str] = {}
    try:
        async for run in client.list_workflows(RUNNING, page_size=1_000):
            if run.id in wanted:
                found[wanted[run.id]] = _state_of_open(run)
        if len(found) < len(wanted):
            async for run in client.list_workflows(ENDED, page_size=1_000, limit=MAX_ENDED):
                if run.id in wanted:
                    found.setdefault(wanted[run.id], _state_of_ended(run))
    except RPCError as error:
        raise temporal_error(error) from None
    return {name: found.get(name, "never launched") for name in names}


async def statuses_of(client: Client, names: Collection[str], task_queue: str) -> dict[str, AgentStatus | None]:
    """The status of each agent, asked a few at a time; None for one that does not answer."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def status_of(name: str) -> AgentStatus | None:
        async with slots:
            try:
                return await AgentHandle(client, name, task_queue).status()
            except CommandError:
                return None

    return dict(zip(names, await asyncio.gather(*(status_of(name) for name in names)), strict=True))


def _state_of_open(run: WorkflowExecution) -> str:
    state = run.typed_search_attributes.get(STATE)
    return printable(state) if state else "starting"


def _state_of_ended(run: WorkflowExecution) -> str:
    if run.status is None or run.status is WorkflowExecutionStatus.COMPLETED:
        return "stopped"
    return run.status.name.lower()
