"""The stages of a payment and the state of an agent in words, for the demo. Pure."""

from autopay.domain.agent.status import AgentStatus
from autopay.domain.money import show
from autopay.domain.report.rows import TimelineRow

STAGES = ("signed", "submitted", "delivered", "final")


def stage_words(stage: str, row: TimelineRow) -> str:
    """A stage in words."""
    match stage:
        case "402":
            return f"402 → {show(row.amount_atomic, row.currency)} asked by {(row.pay_to or '')[:8]}…"
        case "signed":
            return f"signed (attempt {row.number})"
        case "submitted":
            return "submitted"
        case "final":
            return f"final on chain in {row.hash}"
        case "failed":
            return f"failed: {row.error_code}"
        case _:
            return stage


def stages_of(row: TimelineRow) -> list[str]:
    """The stages that a payment has passed, as the ledger shows them."""
    stages = ["402", "signed"]
    if row.sends:
        stages.append("submitted")
    if row.delivery == "DELIVERED":
        stages.append("delivered")
    if row.status == "VERIFIED":
        stages.append("final")
    if row.status == "FAILED":
        stages.append("failed")
    return stages


def headline(status: AgentStatus | None) -> str:
    """The agent in one line."""
    if status is None:
        return "no worker answers for the agent now"
    money = ", ".join(show(each.spendable_atomic, each.currency) for each in status.spendable) or "?"
    why = f" ({status.reason})" if status.reason else ""
    counts = {
        "in flight": status.in_flight,
        "queued": status.queued,
        "held": status.held,
        "not final yet": status.settling,
    }
    flight = ", ".join(f"{len(each)} {name}" for name, each in counts.items())
    return f"agent {status.name} is {status.state.value}{why}; {flight}; spendable {money}"
