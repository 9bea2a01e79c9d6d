"""The overview's first sentence: what the agents do, what it costs, and whether somebody must act. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence

from autopay.api.models.agents import AgentItem
from autopay.api.page.frame.words import amount, count
from autopay.domain.money import Currency

AT_WORK = {"running", "starting"}


def headline(agents: Sequence[AgentItem], sellers: int, todos: int) -> str:
    """For example: `3 agents buy data from 2 sellers, 1 is paused. 1 thing needs you.`"""
    if not agents:
        return "No agent has been launched yet."
    states = Counter(each.state for each in agents)
    at_work = sum(states[state] for state in AT_WORK)
    verb = "buys" if at_work == 1 else "buy"
    working = f"{count(at_work, 'agent').capitalize()} {verb} data" if at_work else "No agent is at work"
    whom = f" from {count(sellers, 'seller')}" if at_work and sellers else ""
    others = [f"{number} {_is(number)} {state.replace('_', ' ')}" for state, number in sorted(states.items())
              if state not in AT_WORK]  # fmt: skip
    rest = f"; {', '.join(others)}" if others else ""
    need = f"{count(todos, 'thing needs', 'things need')} you." if todos else "Nothing needs you."
    return f"{working}{whom}{rest}. {need}"


def _is(number: int) -> str:
    return "is" if number == 1 else "are"


def sums_text(sums: Iterable[tuple[Currency, int]], nothing: str = "nothing") -> str:
    """Amounts in one sentence: `0.05 USDC and 0.02 CASH`."""
    return " and ".join(f"{amount(atomic)} {currency}" for currency, atomic in sums if atomic) or nothing
