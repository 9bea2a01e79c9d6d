"""Commands that would let an agent go on: `advice(status)`. Pure."""

from collections.abc import Iterator

from autopay.domain.agent.breakers import BreakerState
from autopay.domain.agent.money import Balances
from autopay.domain.agent.status import AgentState, AgentStatus, Spendable
from autopay.domain.command_line import command_line
from autopay.domain.money import show, to_units
from autopay.domain.phase import Phase

LEAST_GRANT_ATOMIC = 1_000_000
"""The least allowance that is proposed: what `launch` grants."""


def advice(status: AgentStatus, *, on_localnet: bool = False) -> list[str]:
    """A line for each thing that would help an agent that cannot go on; none when it needs nothing.

    Args:
        status: the agent's status.
        on_localnet: whether `fund` works on this chain.
    """
    name = status.name
    if status.state in (AgentState.STOPPING, AgentState.STOPPED):
        return [f"to start it again{_when_it_has(status)}: {command_line('launch', name)}"]
    return [*_pause(status), *_money(status, on_localnet=on_localnet), *_others(status)]


def is_paused_by_hand(status: AgentStatus) -> bool:
    """Whether a person paused it: its reason is not that of a shortage of money."""
    shortage = Balances(readings=list(status.spendable)).find_shortage(status.rules)
    return status.state is AgentState.PAUSED and (shortage is None or status.reason != shortage)


def _when_it_has(status: AgentStatus) -> str:
    return ", once it has stopped" if status.state is AgentState.STOPPING else ""


def _pause(status: AgentStatus) -> Iterator[str]:
    if is_paused_by_hand(status):
        yield f"to let it go on: {command_line('resume', status.name)}"


def _money(status: AgentStatus, *, on_localnet: bool) -> Iterator[str]:
    for each in status.spendable:
        needed = status.rules.needed(each.currency)
        if each.spendable_atomic < needed:
            yield from _more_money(status.name, each, needed, on_localnet=on_localnet)


def _more_money(name: str, each: Spendable, needed: int, *, on_localnet: bool) -> Iterator[str]:
    why = each.session_problem or f"{show(each.spendable_atomic, each.currency)} spendable by its {_limit(each)}"
    grant = f"{to_units(max(LEAST_GRANT_ATOMIC, needed)).normalize():f}"
    currency = () if each.currency == "USDC" else ("--currency", each.currency)
    shortage = f"{why}, {show(needed, each.currency)} needed"
    if each.limit != "balance" or each.account is None:
        yield f"{shortage}: {command_line('session', 'grant', name, '--allowance', grant, *currency)}"
    elif on_localnet:
        yield f"{shortage}: {command_line('fund', name, grant, *currency)}"
    else:
        yield f"{shortage}: send {show(needed - each.spendable_atomic, each.currency)} or more to {each.account}"


def _limit(each: Spendable) -> str:
    return each.limit.replace("_", " ")


def _others(status: AgentStatus) -> Iterator[str]:
    if any(held.why == "approval" for held in status.held):
        yield f"payments wait for a person: {command_line('approvals', status.name)}"
    if any(each.of == "rpc" and each.state is BreakerState.OPEN for each in status.breakers):
        yield f"to ask the chain at once: {command_line('resume', status.name)}"
    if status.phase is Phase.DEMO and status.payments >= status.rules.demo_payments:
        yield f"to let it go on after its demo: {command_line('phase', status.name, 'full')}"
