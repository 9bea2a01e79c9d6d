"""Commands that would let an agent go on: `advice(view)`. Pure."""

from collections.abc import Iterator

from autopay.client.agents.agent_view import AgentView
from autopay.client.agents.grant_hint import LEAST_GRANT_ATOMIC, grant_command
from autopay.domain.agent.records import SpendableRecord, SpendLimit
from autopay.domain.agent.state.money import Balances
from autopay.domain.agent.state.scheduling import BlockedBy
from autopay.domain.agent.status import AgentState, AgentStatus, BreakerState
from autopay.domain.money import Currency, short_units_text, show
from autopay.domain.phase import Phase
from autopay.domain.text.command_line import command_line

LIMITS: dict[SpendLimit, str] = {
    "policy_currency": "policy, which does not allow it",
    "session_budget": "session budget",
    "policy_day": "policy's limit a day, which begins anew at 00:00 UTC",
    "allowance": "allowance on chain",
    "balance": "balance",
    "none": "session",
}
"""How people are told what binds."""

OF_SESSION: tuple[SpendLimit, ...] = ("session_budget", "allowance")


def advice(view: AgentView, *, on_localnet: bool = False) -> list[str]:
    """A line for each thing that would help an agent that cannot go on; none when it needs nothing.

    Args:
        view: the agent.
        on_localnet: whether `fund` works on this chain.
    """
    status = view.status
    if status.state in (AgentState.STOPPING, AgentState.STOPPED):
        return [f"to start it again{_when_it_has(status)}: {command_line('launch', status.name)}"]
    return [*_pause(status), *_money(view, on_localnet=on_localnet), *_others(view)]


def is_paused_by_hand(status: AgentStatus) -> bool:
    """Whether a person paused it: its reason is not that of a shortage of money."""
    shortage = Balances(readings=list(status.spendable)).find_shortage(status.rules)
    return status.state is AgentState.PAUSED and (shortage is None or status.reason != shortage)


def _when_it_has(status: AgentStatus) -> str:
    return ", once it has stopped" if status.state is AgentState.STOPPING else ""


def _pause(status: AgentStatus) -> Iterator[str]:
    if is_paused_by_hand(status):
        yield f"to let it go on: {command_line('resume', status.name)}"


def _money(view: AgentView, *, on_localnet: bool) -> Iterator[str]:
    status = view.status
    wanted = _wanted(status)
    is_short = False
    for each in view.spendable:
        needed = max(status.rules.needed(each.currency), wanted.get(each.currency, 0))
        if each.spendable_atomic < needed:
            is_short = True
            yield from _more_money(view, each, needed, on_localnet=on_localnet)
    if view.spendable and not is_short and status.state is AgentState.PAUSED and not is_paused_by_hand(status):
        yield f"there is enough by now, and it goes on when it reads its balances next; at once: {_resume(status)}"


def _wanted(status: AgentStatus) -> dict[Currency, int]:
    """By currency: the price of the dearest request at the queue's head that waits for money."""
    wanted: dict[Currency, int] = {}
    for each in status.next:
        if each.waits == BlockedBy.MONEY and each.currency is not None and each.price_atomic is not None:
            wanted[each.currency] = max(wanted.get(each.currency, 0), each.price_atomic)
    return wanted


def _more_money(view: AgentView, each: SpendableRecord, needed: int, *, on_localnet: bool) -> Iterator[str]:
    """What ends the shortage: each limit that is too low needs something else."""
    name, currency = view.status.name, each.currency
    low = [limit for limit, amount in each.limits.items() if amount < needed]
    have = each.problem or f"{show(each.spendable_atomic, currency)} spendable by its {LIMITS[each.limit]}"
    shortage = f"{have}, {show(needed, currency)} needed"
    if each.problem is not None or any(limit in OF_SESSION for limit in low):
        last = next((s for s in view.summary.last_sessions if s.currency == currency), None) if view.summary else None
        waits = last is not None and last.status == "ACTIVE" and not last.granted
        submit = command_line("session", "submit", last.session_id) if last is not None else ""
        yield f"{shortage}: {submit if waits else grant_command(name, view.status.phase, currency, needed, last)}"
    elif "balance" in low and on_localnet:
        words = () if currency is Currency.USDC else ("--currency", currency.value)
        missing = short_units_text(max(LEAST_GRANT_ATOMIC, needed))
        yield f"{shortage}: {command_line('fund', name, missing, *words)}"
    elif "balance" in low:
        account = next((s.account for s in view.status.spendable if s.currency == currency), None)
        yield f"{shortage}: send {show(needed - each.limits['balance'], currency)} or more to {account}"
    if any(limit in low for limit in ("policy_day", "policy_currency")):
        yield f"{shortage}; its policy, and what is used of it: {command_line('policy', 'show', name)}"


def _resume(status: AgentStatus) -> str:
    return command_line("resume", status.name)


def _others(view: AgentView) -> Iterator[str]:
    status = view.status
    if any(held.why == "approval" for held in status.held):
        yield f"payments wait for a person: {command_line('approvals', status.name)}"
    if any(each.of == "rpc" and each.state is BreakerState.OPEN for each in status.breakers):
        yield f"to ask the chain at once: {command_line('resume', status.name)}"
    if status.phase is Phase.DEMO and view.since_launch["payments"] >= status.rules.demo_payments:
        yield f"to let it go on after its demo: {command_line('phase', status.name, 'full')}"
