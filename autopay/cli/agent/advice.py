"""What it would take for an agent to go on, as commands to type: `advice(status)`. Pure."""

from collections.abc import Iterator

from autopay.domain.agent.breakers import BreakerState
from autopay.domain.agent.money import Balances
from autopay.domain.agent.status import AgentState, AgentStatus, Spendable
from autopay.domain.money import show, to_units
from autopay.domain.phase import Phase

LEAST_GRANT_ATOMIC = 1_000_000
"""The allowance that is proposed when nobody knows better: what `launch` grants."""


def advice(status: AgentStatus, *, on_localnet: bool = False) -> list[str]:
    """One line for each thing that somebody could do about what holds the agent up; none when nothing does.

    Args:
        status: what the agent says of itself.
        on_localnet: whether `fund` works on this chain.
    """
    name = status.name
    if status.state in (AgentState.STOPPING, AgentState.STOPPED):
        return [f"to start it again{_when_it_has(status)}: starter.py launch {name}"]
    return [*_pause(status), *_money(status, on_localnet=on_localnet), *_others(status)]


def is_paused_by_hand(status: AgentStatus) -> bool:
    """Whether a person paused it: money alone would not say what its reason says."""
    shortage = Balances(readings=list(status.spendable)).find_shortage(status.rules)
    return status.state is AgentState.PAUSED and (shortage is None or status.reason != shortage)


def _when_it_has(status: AgentStatus) -> str:
    return ", once it has stopped" if status.state is AgentState.STOPPING else ""


def _pause(status: AgentStatus) -> Iterator[str]:
    if is_paused_by_hand(status):
        yield f"to let it go on: starter.py resume {status.name}"


def _money(status: AgentStatus, *, on_localnet: bool) -> Iterator[str]:
    for each in status.spendable:
        needed = status.rules.needed(each.currency)
        if each.spendable_atomic < needed:
            yield from _more_money(status.name, each, needed, on_localnet=on_localnet)


def _more_money(name: str, each: Spendable, needed: int, *, on_localnet: bool) -> Iterator[str]:
    why = each.session_problem or f"{show(each.spendable_atomic, each.currency)} spendable by its {_limit(each)}"
    grant = f"{to_units(max(LEAST_GRANT_ATOMIC, needed)).normalize():f}"
    currency = "" if each.currency == "USDC" else f" --currency {each.currency}"
    said = f"{why}, {show(needed, each.currency)} needed"
    if each.limit != "balance" or each.account is None:
        yield f"{said}: starter.py session grant {name} --allowance {grant}{currency}"
    elif on_localnet:
        yield f"{said}: starter.py fund {name} {grant}{currency}"
    else:
        yield f"{said}: send {show(needed - each.spendable_atomic, each.currency)} or more to {each.account}"


def _limit(each: Spendable) -> str:
    return each.limit.replace("_", " ")


def _others(status: AgentStatus) -> Iterator[str]:
    if any(held.why == "approval" for held in status.held):
        yield f"payments wait for a person: starter.py approvals {status.name}"
    if any(each.of == "rpc" and each.state is BreakerState.OPEN for each in status.breakers):
        yield f"to ask the chain at once: starter.py resume {status.name}"
    if status.phase is Phase.DEMO and status.payments >= status.rules.demo_payments:
        yield f"to let it go on after its demo: starter.py phase {status.name} full"
