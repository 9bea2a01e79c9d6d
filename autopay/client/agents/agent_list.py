"""Every agent in a line: what the ledger knows of it, and what Temporal and the agent itself say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from autopay.client.agents.agent_view import agent_view
from autopay.domain.agent.records import AgentSummary, SpendableRecord
from autopay.domain.agent.spending import spending
from autopay.domain.agent.status import AgentState, AgentStatus
from autopay.domain.money import Currency, show
from autopay.domain.text.command_line import command_line

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


async def agent_lines(
    ledger: PostgresLedger, client: Client, task_queue: str, *, live: bool | None = None
) -> list[AgentLine]:
    """Every agent, as it is now; with `live` each that runs is asked, unless told otherwise only a few of them."""
    from autopay.client.agents.states import ALIVE, states_of, statuses_of  # noqa: PLC0415 - slow to import

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
        return live_line(each, answer)
    line = agent_line(each, state)
    return replace(line, why="does not answer") if live and each.agent.name in answers else line


def agent_line(each: AgentSummary, state: str) -> AgentLine:
    """The line of an agent in that state, by the ledger alone."""
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


def live_line(each: AgentSummary, answer: AgentStatus) -> AgentLine:
    """The line of an agent that answered, as `status` has it: from the same view."""
    view = agent_view(answer, each)
    told = view.as_json()
    return replace(
        agent_line(each, view.status.state.value),
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
