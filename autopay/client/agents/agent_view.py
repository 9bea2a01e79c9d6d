"""One agent as `status` and `agents` show it: what it answers itself, with what the ledger knows by then. No I/O.

| what | source |
|---|---|
| state, reason, rules, watches, breakers, the order of its queue | the agent's workflow, which is asked first |
| phase, money, counts, which requests wait, have begun or ended, questions to a person | the ledger, read after it |

The ledger is the truth wherever both know something: it is written before the workflow hears of it. So a request that
has ended is never shown as under way, nor a question that was answered as open.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from autopay.domain.agent.records import AgentSummary, SpendableRecord
from autopay.domain.agent.spending import spending
from autopay.domain.agent.status import AgentStatus, HeldRequest
from autopay.domain.phase import Phase
from autopay.domain.request import RequestStatus


@dataclass(frozen=True)
class AgentView:
    """An agent's status as of the ledger's snapshot, and what it can spend; `summary` is None without a ledger.

    `since_launch` has the agent's own counters, which begin anew with each launch.
    """

    status: AgentStatus
    spendable: tuple[SpendableRecord, ...]
    summary: AgentSummary | None
    since_launch: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """What programs read: the agent's status, each field from the source that the module names."""
        told = self.status.model_dump(mode="json")
        accounts = {each["currency"]: each for each in told["spendable"]}
        spendable = [each.model_dump(mode="json") for each in self.spendable]
        told["spendable"] = [accounts.get(each["currency"], {}) | each for each in spendable]
        if self.summary is not None:
            fields = {"spent_today_atomic", "open_atomic", "open_payments"}
            told |= self.summary.model_dump(mode="json", include=fields)
        return told | {"since_launch": self.since_launch}


def agent_view(status: AgentStatus, summary: AgentSummary | None) -> AgentView:
    """The status that the agent answered, and then the ledger's summary, as one."""
    counters = {"payments", "delivered", "fresh", "refused", "failed", "undelivered", "spent_atomic"}
    since_launch = status.model_dump(mode="json", include=counters)
    if summary is None:
        return AgentView(status, _by_readings(status), None, since_launch)
    spendable = spending(summary.sessions, summary.readings, summary.policy, summary.at, status.spendable)
    return AgentView(status.model_copy(update=_by_ledger(status, summary)), spendable, summary, since_launch)


def _by_ledger(status: AgentStatus, summary: AgentSummary) -> dict[str, Any]:
    ended = summary.ended
    asked = {each.request_id: each for each in summary.questions}
    held = [each for each in status.held if each.why != "approval" and each.request_id in summary.begun]
    settling = [each for each in status.settling if each in summary.begun and each not in asked]
    apart = {*asked, *settling, *(each.request_id for each in held)}
    return {
        "phase": Phase(summary.agent.phase),
        "payments": summary.payments,
        "spent_atomic": summary.spent_atomic,
        "delivered": ended.get(RequestStatus.DELIVERED, 0) + ended.get(RequestStatus.FREE, 0),
        "fresh": ended.get(RequestStatus.FRESH, 0),
        "refused": ended.get(RequestStatus.REFUSED, 0),
        "failed": ended.get(RequestStatus.FAILED, 0),
        "undelivered": ended.get(RequestStatus.UNDELIVERED, 0),
        "queued": _in_order(status.queued, summary.waiting),
        "next": tuple(each for each in status.next if each.request_id in summary.waiting),
        "in_flight": _in_order(status.in_flight, summary.begun - apart),
        "settling": tuple(settling),
        "held": (
            *(
                HeldRequest(request_id=each.request_id, why="approval", since=each.since, message=each.why)
                for each in summary.questions
            ),
            *held,
        ),
    }


def _in_order(known: Sequence[str], all_of_them: Collection[str]) -> tuple[str, ...]:
    """All of them: those that the agent knows in its order, then those that it has not heard of yet."""
    first = [each for each in known if each in all_of_them]
    return (*first, *sorted(set(all_of_them) - set(first)))


def _by_readings(status: AgentStatus) -> tuple[SpendableRecord, ...]:
    """What the agent itself read last, where there is no ledger to ask."""
    needed = {each.currency: status.rules.needed(each.currency) for each in status.spendable}
    is_short = all(each.spendable_atomic < needed[each.currency] for each in status.spendable)
    return tuple(
        SpendableRecord(
            currency=each.currency,
            spendable_atomic=each.spendable_atomic,
            limit=each.limit,
            limits={} if each.limit == "none" else {each.limit: each.spendable_atomic},
            needed_atomic=needed[each.currency],
            problem=each.session_problem,
            pauses=is_short,
            read_at=None,
        )
        for each in status.spendable
    )
