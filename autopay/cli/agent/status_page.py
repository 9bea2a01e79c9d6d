"""An agent's status as lines and tables: what it does, why, and what would change that. No I/O."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from autopay.cli.agent.advice import advice
from autopay.cli.connect.formats import ago, span, until
from autopay.cli.connect.tables import FittedTable
from autopay.domain.agent.breakers import BreakerState
from autopay.domain.agent.status import AgentStatus, BreakerStatus, HeldRequest, WatchStatus
from autopay.domain.command_line import command_line
from autopay.domain.money import show
from autopay.domain.policy.records import PolicyInForce
from autopay.domain.session import SessionRecord

MOST_NAMES = 5
"""Requests that are named in a line; of the others only the number is shown."""


@dataclass(frozen=True)
class LedgerView:
    """What the ledger adds to an agent's own status: sessions that can pay now, and the policy that holds."""

    sessions: Sequence[SessionRecord] = ()
    policy: PolicyInForce | None = None


def status_page(
    found: AgentStatus, ledger: LedgerView, now: datetime, *, on_localnet: bool = False
) -> Iterator[str | FittedTable]:
    """Lines and tables, the most important first."""
    why = f": {found.reason}" if found.reason and found.reason != found.state.value else ""
    yield f"{found.name} is {found.state.value}{why} (phase {found.phase.value})"
    for line in advice(found, on_localnet=on_localnet):
        yield f"  {line}"
    yield from _money(found, ledger.policy)
    yield from (_session(each, now) for each in ledger.sessions)
    yield from _under_way(found, now)
    yield from _tables(found, now)


def _money(found: AgentStatus, policy: PolicyInForce | None) -> Iterator[str]:
    left_today = None if policy is None else policy.left_today_atomic
    for money in found.spendable:
        limit = f": {money.session_problem}" if money.session_problem else f", by its {money.limit.replace('_', ' ')}"
        amount = money.spendable_atomic
        if policy is not None and policy.policy.currencies and money.currency not in policy.policy.currencies:
            amount, limit = 0, f": its policy does not allow {money.currency.value}"
        elif left_today is not None and left_today < amount:
            amount, limit = left_today, ", by its policy's limit a day, which begins anew at 00:00 UTC"
        yield f"can spend {show(amount, money.currency)}{limit}"
    if left_today == 0:
        yield f"to see its policy, and what is used of it: {command_line('policy', 'show', found.name)}"
    spent = ", ".join(show(amount, currency) for currency, amount in found.spent_atomic.items())
    yield (
        f"spent {spent or 'nothing'} in {found.payments} payments: {found.delivered} delivered, {found.fresh} fresh, "
        f"{found.undelivered} undelivered, {found.failed} failed, {found.refused} refused"
    )


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


def current_sessions(records: Sequence[SessionRecord]) -> Sequence[SessionRecord]:
    """Sessions that can pay now."""
    return [each for each in records if each.granted and each.status == "ACTIVE"]
