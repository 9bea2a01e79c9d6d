"""An agent's page in the Temporal UI: its current details, in Markdown. Pure."""

from autopay.domain.agent import AgentStatus
from autopay.domain.money import show

QUEUE_HEAD = 5


def page(status: AgentStatus) -> str:
    """State and why, money, what is under way and next, and the last purchases."""
    lines = [f"**{status.state}**" + (f": {status.reason}" if status.reason else "") + f" · phase {status.phase}"]
    lines += [""]
    for each in status.spendable:
        limit = each.session_problem or f"limited by {each.limit.replace('_', ' ')}"
        lines.append(
            f"- spendable **{show(each.spendable_atomic, each.currency)}** of "
            f"{show(each.balance_atomic, each.currency)} ({limit})"
        )
    spent = ", ".join(show(amount, currency) for currency, amount in status.spent_atomic.items()) or "nothing"
    lines.append(
        f"- spent {spent} in {status.payments} payments; {status.delivered} delivered, {status.refused} refused, "
        f"{status.failed} failed, {status.undelivered} paid but not delivered"
    )
    lines.append(f"- in flight: {', '.join(status.in_flight) or 'none'}; settling: {len(status.settling)}")
    lines.append(f"- queue ({len(status.queued)}): {', '.join(status.queued[:QUEUE_HEAD]) or 'empty'}")
    lines += [
        f"- watch `{each.watch.name}`: every {each.watch.every_s} s, next at {each.next_due:%H:%M:%S}"
        for each in status.watches
    ]
    if status.last:
        lines += ["", "| request | status | paid | transaction |", "|---|---|---|---|"]
        for notice in status.last:
            paid = show(notice.amount_atomic, notice.currency) if notice.currency else "–"
            lines.append(
                f"| {notice.request_id} | {notice.status} | {paid} | {notice.transaction or notice.message or ''} |"
            )
    return "\n".join(lines)
