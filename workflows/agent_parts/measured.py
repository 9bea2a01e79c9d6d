"""Counts the breakers of an agent that open and close. Counted once: a replay counts nothing, and sends no command."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from autopay.domain.agent.state.breakers import Breakers
    from autopay.metrics.labels import AGENTS
    from autopay.metrics.table import BREAKER_CHANGES

_RPC = "rpc"


class CountedBreakers:
    """Which breakers were not closed when it looked last."""

    def __init__(self, breakers: Breakers) -> None:
        self._down = _not_closed(breakers)

    def update(self, agent: str, breakers: Breakers) -> None:
        """Count what has changed since."""
        down = _not_closed(breakers)
        if down == self._down:
            return
        for name in sorted(down ^ self._down):
            _count(agent, "rpc" if name == _RPC else "seller", "open" if name in down else "closed")
        self._down = down


def _not_closed(breakers: Breakers) -> frozenset[str]:
    sellers = {name for name, breaker in breakers.sellers.items() if breaker.until is not None}
    return frozenset(sellers | ({_RPC} if breakers.rpc.until is not None else set()))


def _count(agent: str, dependency: str, state: str) -> None:
    labels = {"agent": AGENTS.of(agent), "dependency": dependency, "state": state}
    try:
        workflow.metric_meter().create_counter(BREAKER_CHANGES.name, BREAKER_CHANGES.help).add(1, labels)
    except Exception as error:  # the agent goes on, whatever is measured
        workflow.logger.warning("a metric is not recorded: %s", error)
