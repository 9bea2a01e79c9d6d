"""What an agent may spend, from the ledger's summary of it. Pure."""

from autopay.client.values import Budget, CurrencyBudget, units
from autopay.domain.agent.records import AgentSummary
from autopay.domain.agent.spending import spending


def budget_of(summary: AgentSummary, state: str | None = None) -> Budget:
    """The agent's budget as of the summary's moment."""
    policy = summary.policy
    most, left = policy.policy.per_request_atomic, policy.left_today_atomic
    can_spend = spending(summary.sessions, summary.readings, policy, summary.at)
    short = [each for each in can_spend if each.pauses]
    return Budget(
        agent=summary.agent.name,
        phase=summary.agent.phase,
        state=state,
        paused=summary.pause or ("its balance is below what it needs" if short else None),
        currencies=tuple(
            CurrencyBudget(
                currency=each.currency,
                spendable=units(each.spendable_atomic),
                limit=each.limit,
                problem=each.problem,
                spent=units(summary.spent_atomic.get(each.currency, 0)),
                spent_today=units(summary.spent_today_atomic.get(each.currency, 0)),
            )
            for each in can_spend
        ),
        per_request=None if most is None else units(most),
        left_today=None if left is None else units(left),
        waiting=summary.queued,
        asked=summary.asked,
    )
