"""An agent's page in the Temporal UI: its current details, in Markdown. Pure."""

from collections.abc import Iterator
from datetime import datetime

from autopay.domain.agent.status import AgentStatus, WatchStatus
from autopay.domain.money import show
from autopay.domain.payment.notice import WAITS_FOR

MAX_WATCHES_SHOWN = 30
MAX_HELD_SHOWN = 10


def page(status: AgentStatus) -> str:
    """State and its reason, money, requests in flight and next, watches, and the last purchases."""
    reason = f": {status.reason}" if status.reason else ""
    lines = [f"**{status.state}**{reason} · agent {status.name}, phase {status.phase}", ""]
    return "\n".join([*lines, *_money(status), *_requests(status), *_watches(status), *_last(status)])


def _money(status: AgentStatus) -> Iterator[str]:
    for each in status.spendable:
        limit = each.session_problem or f"limited by {each.limit.replace('_', ' ')}"
        yield (
            f"- spendable **{show(each.spendable_atomic, each.currency)}** of "
            f"{show(each.balance_atomic, each.currency)} ({limit})"
        )
    spent = ", ".join(show(amount, currency) for currency, amount in status.spent_atomic.items()) or "nothing"
    yield (
        f"- spent {spent} in {status.payments} payments; {status.delivered} delivered, {status.fresh} answered from "
        f"what was fresh, {status.refused} refused, {status.failed} failed, {status.undelivered} paid but not delivered"
    )


def _requests(status: AgentStatus) -> Iterator[str]:
    for each in status.breakers:
        until = f", asked again at {each.until:%H:%M:%S}" if each.until else ""
        yield f"- breaker of `{each.of}`: **{each.state}** after {each.faults} faults{until}"
    yield f"- in flight: {', '.join(status.in_flight) or 'none'}; settling: {len(status.settling)}"
    for held in status.held[:MAX_HELD_SHOWN]:
        said = f": {_cell(held.message)}" if held.message else ""
        yield f"- held: `{held.request_id}` waits for {WAITS_FOR[held.why]} since {_at(held.since)}{said}"
    if len(status.held) > MAX_HELD_SHOWN:
        yield f"- and {len(status.held) - MAX_HELD_SHOWN} more are held"
    yield f"- queue: {len(status.queued) or 'empty'}"
    if (dropped := status.last_dropped) is not None:
        yield (
            f"- {status.dropped} signals could not be read and were dropped, the last `{_cell(dropped.signal)}` at "
            f"{_at(dropped.at)}: {_cell(dropped.why)}"
        )
    if status.next:
        yield from ("", "| next | score | queued | waits for |", "|---|---|---|---|")
        for request in status.next:
            waits = request.waits or "its turn"
            yield f"| {request.request_id} | {request.score:.1f} | {_at(request.queued_at)} | {waits} |"


def _watches(status: AgentStatus) -> Iterator[str]:
    if not status.watches:
        return
    yield from ("", "| watch | every | next | last price |", "|---|---|---|---|")
    for each in status.watches[:MAX_WATCHES_SHOWN]:
        due = _at(each.next_due) if each.next_due is not None else each.waits or "–"
        yield f"| {each.watch.name} | {each.watch.every_s} s | {due} | {_price(each)} |"
    if len(status.watches) > MAX_WATCHES_SHOWN:
        yield f"| and {len(status.watches) - MAX_WATCHES_SHOWN} more | | | |"


def _last(status: AgentStatus) -> Iterator[str]:
    if not status.last:
        return
    yield from ("", "| last | status | paid | transaction |", "|---|---|---|---|")
    for notice in status.last:
        paid = show(notice.amount_atomic, notice.currency) if notice.currency else "–"
        said = notice.transaction or _cell(notice.message or "")
        yield f"| {notice.request_id} | {notice.status} | {paid} | {said} |"


def _price(each: WatchStatus) -> str:
    if each.price_atomic is None:
        return "–"
    return show(each.price_atomic, each.currency) if each.currency is not None else "free"


def _at(moment: datetime) -> str:
    return f"{moment:%d %b %H:%M:%S}"


def _cell(text: str) -> str:
    """Text from outside, made safe for a Markdown table or list."""
    return text.replace("|", "/").replace("\n", " ").replace("<", "‹")[:200]
