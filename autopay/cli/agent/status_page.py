"""An agent's status as lines and tables: what it does, why, and what would change that. No I/O."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from autopay.cli.terminal.tables import FittedTable
from autopay.client.agents.advice import LIMITS, advice
from autopay.client.agents.agent_view import AgentView
from autopay.domain.agent.records import SpendLimit
from autopay.domain.agent.status import AgentStatus, BreakerState, BreakerStatus, HeldRequest, WatchStatus
from autopay.domain.money import Currency, show
from autopay.domain.session import SessionRecord
from autopay.domain.text.command_line import command_line
from autopay.domain.text.times import ago, span, until

MOST_NAMES = 5
"""Requests that are named in a line; of the others only the number is shown."""


def status_page(view: AgentView, now: datetime, *, on_localnet: bool = False) -> Iterator[str | FittedTable]:
    """Lines and tables, the most important first."""
    found = view.status
    why = f": {found.reason}" if found.reason and found.reason != found.state.value else ""
    yield f"{found.name} is {found.state.value}{why} (phase {found.phase.value})"
    for line in advice(view, on_localnet=on_localnet):
        yield f"  {line}"
    yield from _money(view)
    yield from (_session(each, now) for each in (view.summary.sessions if view.summary else ()))
    yield from _under_way(found, now)
    yield from _tables(found, now)


def _money(view: AgentView) -> Iterator[str]:
    found = view.status
    for each in view.spendable:
        bound = f": {each.problem}" if each.problem else f", by its {LIMITS[each.limit]}"
        others = [f"{_short(limit)} {show(amount, '').strip()}" for limit, amount in each.limits.items()]
        beside = f" ({', '.join(others)})" if len(others) > 1 else ""
        yield f"can spend {show(each.spendable_atomic, each.currency)}{bound}{beside}"
    spent = _amounts(found.spent_atomic) or "nothing"
    still_open = ""
    if view.summary is not None and view.summary.open_payments:
        still_open = f", {_amounts(view.summary.open_atomic)} open in {view.summary.open_payments}"
    yield (
        f"spent {spent} in {found.payments} payments{still_open}: {found.delivered} delivered, {found.fresh} fresh, "
        f"{found.undelivered} undelivered, {found.failed} failed, {found.refused} refused"
    )


def _short(limit: SpendLimit) -> str:
    return LIMITS[limit].partition(",")[0]


def _amounts(amounts: Mapping[Currency, int]) -> str:
    return ", ".join(show(amount, currency) for currency, amount in amounts.items())


def _session(each: SessionRecord, now: datetime) -> str:
    left = show(max(0, each.allowance_atomic - each.reserved_atomic), "").strip()
    allowance = show(each.allowance_atomic, each.currency)
    payments = f"{max(0, each.tx_limit - each.payments)} of {each.tx_limit} payments"
    ends = f"ends {until(each.expires_at, now)}" if each.expires_at > now else f"ended {ago(each.expires_at, now)}"
    return f"session has {left} of {allowance} and {payments} left, {ends}"


def _under_way(found: AgentStatus, now: datetime) -> Iterator[str]:
    yield (
        f"in flight {_named(found.in_flight)}; answered, not final yet {len(found.settling)}; "
        f"held {len(found.held)}; in the queue {len(found.queued)}"
    )
    if (dropped := found.last_dropped) is not None:
        yield (
            f"{found.dropped} signal(s) could not be read and were dropped, the last {dropped.signal!r} "
            f"{ago(dropped.at, now)}: {dropped.why}"
        )
    yield from (_breaker(each, now) for each in found.breakers)
    yield from (_held(each, found.name, now) for each in found.held)


def _named(requests: Sequence[str]) -> str:
    if not requests:
        return "none"
    more = f" and {len(requests) - MOST_NAMES} more" if len(requests) > MOST_NAMES else ""
    return f"{', '.join(requests[:MOST_NAMES])}{more}"


def _breaker(each: BreakerStatus, now: datetime) -> str:
    what = "the chain" if each.of == "rpc" else each.of
    match each.state:
        case BreakerState.CLOSED:
            return f"{what}: {each.faults} fault(s) in a row"
        case BreakerState.HALF_OPEN:
            return f"{what} did not answer: one request tries it now"
        case BreakerState.OPEN:
            at = f" at {each.until:%H:%M:%S} UTC, {until(each.until, now)}" if each.until is not None else ""
            return f"{what} does not answer: nothing is sent to it; tried again{at}"


def _held(each: HeldRequest, name: str, now: datetime) -> str:
    whom = f"a person ({command_line('approvals', name)})" if each.why == "approval" else "the chain"
    said = f": {each.message}" if each.message else ""
    return f"{each.request_id} has waited {span((now - each.since).total_seconds())} for {whom}{said}"


def _tables(found: AgentStatus, now: datetime) -> Iterator[FittedTable]:
    if found.next:
        title = f"\nNext of {len(found.queued)} in the queue"
        head: list[Sequence[object]] = [
            (each.request_id, f"{each.score:.1f}", ago(each.queued_at, now), each.waits or "its turn")
            for each in found.next
        ]
        yield FittedTable(("request", "score", "queued", "waits for"), head, title)
    if found.watches:
        columns: Sequence[str] = ("watch", "every", "last bought", "next", "last price", "url")
        yield FittedTable(columns, (_watch(each, now) for each in found.watches), "\nWatches")
    if found.last:
        columns = ("request", "status", "amount", "message")
        ended: list[Sequence[object]] = [
            (
                notice.request_id,
                notice.status.value,
                show(notice.amount_atomic, notice.currency) if notice.currency else "",
                notice.message,
            )
            for notice in found.last
        ]
        yield FittedTable(columns, ended, "\nLast requests")


def _watch(each: WatchStatus, now: datetime) -> Sequence[object]:
    due = until(each.next_due, now) if each.next_due is not None else each.waits or ""
    if each.stale_since is not None and each.last is not None:
        due = f"{due} (stale for {span((now - each.stale_since).total_seconds())})"
    price = "not known yet"
    if each.price_atomic is not None:
        price = show(each.price_atomic, each.currency) if each.currency is not None else "free"
    last = ago(each.last, now) if each.last is not None else "never"
    return each.watch.name, span(each.watch.every_s), last, due, price, each.watch.url
