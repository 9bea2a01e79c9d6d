"""`agents`: every agent that the ledger knows, with its money, and what Temporal shows of it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any

import typer

from autopay.cli.agent.states import states_of, statuses_of
from autopay.cli.connect.connections import ledger_of
from autopay.cli.connect.console import note, print_json, print_table
from autopay.cli.connect.exit_codes import examples_help
from autopay.cli.connect.invocation import HomeOption, JsonOption, run_async
from autopay.domain.agent.records import AgentSummary
from autopay.domain.agent.status import AgentState, AgentStatus
from autopay.domain.money import Currency, show
from autopay.settings import Settings, SettingsError
from autopay.temporal.connection import TemporalUnreachable, connect

UNKNOWN = "unknown"


@dataclass(frozen=True)
class AgentLine:
    """One agent in the list; amounts in base units. `why` is what it waits for, `held` waits for a person or the
    chain; without its own word (`live`) both are as far as the ledger knows."""

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
"""The least spendable first, of all other numbers the most; USDC and CASH count together, as both are dollars."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "agents",
        epilog=examples_help("agents", "agents --state paused", "agents --sort spendable --live", "agents --json"),
    )(agents)


def agents(
    state: Annotated[
        str | None, typer.Option(help="Only those: running, paused, stopping, stopped, …", show_default=False)
    ] = None,
    sort: Annotated[str, typer.Option(help=f"By {', '.join(SORTS)}.")] = "name",
    live: Annotated[bool, typer.Option("--live", help="Ask each agent that runs, which takes its worker.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the agents: state and why, what each spent and may still spend, what waits.

    Comes from the ledger and from what Temporal shows, at once for hundreds, and may be seconds old. With --live each
    says itself why it waits, what it can spend and what it holds.
    """
    if sort not in SORTS:
        raise typer.BadParameter(f"{sort!r} is not one of {', '.join(SORTS)}", param_hint="--sort")
    lines = run_async(_agents(Settings.load(home=home).resolve("database_url"), state, live=live))
    lines.sort(key=SORTS[sort])
    if as_json:
        print_json([asdict(line) for line in lines])
    elif not lines:
        note("No agent is in that state." if state is not None else "There are no agents yet: starter.py launch NAME")
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
        spendable_atomic={purse.currency: purse.spendable_atomic for purse in each.purses},
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
    """What the ledger knows of what an agent waits for."""
    if state == AgentState.PAUSED:
        is_short = bool(each.purses) and all(purse.pauses for purse in each.purses)
        for purse in each.purses if is_short else ():
            needed = show(purse.needed_atomic or 0, purse.currency)
            have = purse.problem or f"{show(purse.spendable_atomic, purse.currency)} spendable"
            yield f"{have}, {needed} needed"
        if not is_short:
            yield f"by a person: starter.py status {each.agent.name}"
    if each.asked and state in set(AgentState):
        yield f"{each.asked} wait for approval"


def _with_status(line: AgentLine, status: AgentStatus | None) -> AgentLine:
    """The line with the agent's own word; without one, that is what is to be said."""
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
