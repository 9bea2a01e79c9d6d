"""Agents: the list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from autopay.api.models.agents import AgentItem, AgentList, Spendable
from autopay.api.models.base import amounts, money
from autopay.client.agents.advice import LIMITS
from autopay.client.agents.agent_list import UNKNOWN, AgentLine, agent_line, agent_lines
from autopay.client.errors import Unreachable, told_text
from autopay.domain.agent.records import SpendableRecord
from autopay.domain.errors import Fault, SettingsError

if TYPE_CHECKING:
    from autopay.api.readings.sources import Sources


async def read_agents(sources: Sources, state: str | None, after: str | None, limit: int) -> AgentList:
    """Agents by name, with state and money. Without Temporal the states are unknown, and `problem` says why."""
    problem: str | None = None
    try:
        client = await sources.connections.temporal()
        lines = await agent_lines(sources.ledger, client, sources.settings.task_queue)
    except (Unreachable, Fault, SettingsError) as error:
        problem = told_text(error)
        lines = [agent_line(each, UNKNOWN) for each in await sources.ledger.agents.summaries()]
    chosen = [
        each
        for each in sorted(lines, key=lambda line: line.name)
        if (state is None or each.state == state.lower()) and (after is None or each.name > after)
    ]
    page = chosen[:limit]
    return AgentList(
        items=tuple(map(item_of, page)),
        next=page[-1].name if len(chosen) > limit else None,
        problem=problem,
    )


def item_of(line: AgentLine) -> AgentItem:
    """The agent of that line, as the API lists it."""
    return AgentItem(
        name=line.name,
        phase=line.phase,
        state=line.state,
        why=line.why,
        spendable=tuple(map(_spendable_told, line.spendable)),
        spent_today=amounts(line.spent_today_atomic),
        spent=amounts(line.spent_atomic),
        open=amounts(line.open_atomic),
        payments=line.payments,
        open_payments=line.open_payments,
        queued=line.queued,
        held=line.held,
        live=line.live,
        wallet_address=line.wallet_address,
    )


def _spendable_told(told: dict[str, Any]) -> Spendable:
    return spendable_of(SpendableRecord.model_validate(told))


def spendable_of(record: SpendableRecord) -> Spendable:
    """What can be spent, in words as well."""
    currency = record.currency
    return Spendable(
        currency=currency,
        amount=money(record.spendable_atomic, currency),
        limit=record.limit,
        limit_text=LIMITS[record.limit],
        limits={name: money(atomic, currency) for name, atomic in record.limits.items()},
        needed=None if record.needed_atomic is None else money(record.needed_atomic, currency),
        problem=record.problem,
        is_short=record.pauses,
        read_at=record.read_at,
    )
