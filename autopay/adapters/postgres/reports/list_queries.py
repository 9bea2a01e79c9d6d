"""The queries of `lists.py`, without running them: the benchmark explains the very same ones. Pure."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    DateTime,
    Float,
    Interval,
    Select,
    and_,
    case,
    cast,
    func,
    lateral,
    literal,
    select,
    true,
    tuple_,
)
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import aliased

from autopay.adapters.postgres.reports.queries import like_pattern
from autopay.adapters.postgres.tables.core import AgentRow, BalanceSnapshotRow, RequestRow, TransactionRow
from autopay.adapters.postgres.tables.policy import ApprovalRow
from autopay.domain.money import Currency, to_units
from autopay.domain.payment.status import Delivery, TransactionStatus
from autopay.domain.policy.records import ApprovalStatus
from autopay.domain.report.filter import Cursor, Filter
from autopay.domain.request import CLOSED, RequestStatus

Conditions = Iterator[ColumnElement[bool]]
Span = tuple[datetime | None, datetime | None]

_payment = aliased(TransactionRow)
_ALIVE = (
    select(_payment.id)
    .where(_payment.x402_request_id == RequestRow.x402_request_id, _payment.status != TransactionStatus.FAILED)
    .correlate(RequestRow)
    .exists()
)
_OPEN_STATUS = case(
    (and_(RequestRow.delivery == Delivery.DELIVERED, _ALIVE), literal(RequestStatus.DELIVERED.value)),
    (RequestRow.delivery == Delivery.DELIVERED, literal(RequestStatus.FREE.value)),
    (RequestRow.delivery == Delivery.UNDELIVERED, literal(RequestStatus.UNDELIVERED.value)),
    (_ALIVE, literal(RequestStatus.UNRESOLVED.value)),
    else_=literal(RequestStatus.WAITING.value),
)
STATUS = case(
    (RequestRow.closed_at.is_(None), _OPEN_STATUS),
    (
        and_(RequestRow.outcome == RequestStatus.UNDELIVERED.value, RequestRow.delivery == Delivery.DELIVERED),
        literal(RequestStatus.DELIVERED.value),
    ),
    else_=RequestRow.outcome,
)
"""What became of a request, as `RequestResult.status` has it."""

_NETLOC = func.lower(func.substring(RequestRow.url, "^[A-Za-z]+://([^/?#]+)"))
HOST = case(
    (_NETLOC.regexp_match(":[0-9]+$"), _NETLOC),
    (RequestRow.url.ilike("https:%"), _NETLOC + ":443"),
    else_=_NETLOC + ":80",
)
"""Host and port, as `transactions.host` has them of what was paid."""


def requests_query(wanted: Filter, agent_id: UUID | None, after: Cursor | None, limit: int) -> Select[*tuple[Any, ...]]:
    """Requests, newest first; columns are named like the fields of `ListedRequest`."""
    asked = RequestRow
    chosen = select(asked.id).where(asked.x402_request_id.is_not(None), *_requests(wanted, agent_id))
    if after is not None:
        chosen = chosen.where(
            asked.created_at <= after.at, tuple_(asked.created_at, asked.id) < (after.at, after.row_id)
        )
    page = chosen.order_by(asked.created_at.desc(), asked.id.desc()).limit(limit).subquery()
    last = lateral(
        select(TransactionRow.amount, TransactionRow.currency, TransactionRow.pay_to, TransactionRow.hash)
        .where(TransactionRow.x402_request_id == asked.x402_request_id)
        .where(TransactionRow.status != TransactionStatus.FAILED)
        .order_by(TransactionRow.attempt_number.desc())
        .limit(1)
    )
    return (
        select(
            asked.id.label("row_id"),
            asked.created_at,
            AgentRow.name.label("agent"),
            asked.request_id,
            asked.x402_request_id.label("request_key"),
            asked.method,
            asked.url,
            asked.endpoint,
            STATUS.label("status"),
            last.c.amount.label("price"),
            last.c.currency,
            last.c.pay_to,
            last.c.hash.label("transaction"),
            asked.response_status.label("http_status"),
            asked.error_code,
            asked.error_message,
            asked.watch,
            asked.content_type,
            asked.answered_at,
            asked.closed_at,
        )
        .join(page, page.c.id == asked.id)
        .join(AgentRow, AgentRow.id == asked.agent_id)
        .outerjoin(last, true())
        .order_by(asked.created_at.desc(), asked.id.desc())
    )


def _requests(wanted: Filter, agent_id: UUID | None) -> Conditions:
    asked = RequestRow
    if agent_id is not None:
        yield asked.agent_id == agent_id
    if wanted.endpoint is not None:
        yield asked.endpoint.like(like_pattern(wanted.endpoint))
    if wanted.since is not None:
        yield asked.created_at >= wanted.since
    if wanted.until is not None:
        yield asked.created_at < wanted.until
    if wanted.statuses:
        statuses = [RequestStatus(word.lower()) for word in wanted.statuses]
        yield STATUS.in_([each.value for each in statuses])
        if CLOSED.isdisjoint(statuses):
            yield asked.closed_at.is_(None)  # few, and they have an index
    yield from _priced(wanted)


def _priced(wanted: Filter) -> Conditions:
    """A request that was not paid has no price, and no currency."""
    paid = TransactionRow
    bounds: list[ColumnElement[bool]] = []
    if wanted.min_atomic is not None:
        bounds.append(paid.amount >= to_units(wanted.min_atomic))
    if wanted.max_atomic is not None:
        bounds.append(paid.amount <= to_units(wanted.max_atomic))
    if wanted.currency is not None:
        bounds.append(paid.currency == wanted.currency)
    if bounds:
        alive = paid.status != TransactionStatus.FAILED
        yield select(paid.id).where(paid.x402_request_id == RequestRow.x402_request_id, alive, *bounds).exists()


def approvals_query(
    agent_id: UUID | None, after: Cursor | None, limit: int, *, undecided: bool
) -> Select[ApprovalRow, str]:
    """Approvals and their agents' names, newest first. A request that has ended waits for nobody."""
    of = ApprovalRow
    query = select(of, AgentRow.name).join(AgentRow, AgentRow.id == of.agent_id)
    if undecided:
        query = query.join(RequestRow, RequestRow.x402_request_id == of.x402_request_id).where(
            of.status == ApprovalStatus.PENDING,
            of.expires_at > func.clock_timestamp(),
            RequestRow.closed_at.is_(None),
        )
    if agent_id is not None:
        query = query.where(of.agent_id == agent_id)
    if after is not None:
        query = query.where(tuple_(of.created_at, of.id) < (after.at, after.row_id))
    return query.order_by(of.created_at.desc(), of.id.desc()).limit(limit)


def balances_query(
    agent_id: UUID | None, span: Span, every: timedelta | None, after: Cursor | None, limit: int
) -> Select[*tuple[Any, ...]]:
    """Readings, newest first; columns are named like the fields of `BalanceRow`."""
    of, (since, until) = BalanceSnapshotRow, span
    chosen = select(of.id, of.agent_id, of.currency, of.balance, of.threshold, of.status, of.snapshot_at)
    if agent_id is not None:
        chosen = chosen.where(of.agent_id == agent_id)
    if since is not None:
        chosen = chosen.where(of.snapshot_at >= since)
    if until is not None:
        chosen = chosen.where(of.snapshot_at < until)
    if after is not None:
        chosen = chosen.where(of.snapshot_at <= after.at, tuple_(of.snapshot_at, of.id) < (after.at, after.row_id))
    if every is None:
        page = chosen.order_by(of.snapshot_at.desc(), of.id.desc()).limit(limit).subquery().c
    else:
        of_each = (of.agent_id, of.currency, func.date_bin(cast(every, Interval), of.snapshot_at, _EPOCH))
        chosen = chosen.ext(distinct_on(*of_each)).order_by(*of_each, of.snapshot_at.desc(), of.id.desc())
        page = chosen.subquery().c
    return (
        select(
            page.id.label("row_id"),
            AgentRow.name.label("agent"),
            page.currency,
            page.balance,
            page.threshold,
            page.status,
            page.snapshot_at,
        )
        .join(AgentRow, AgentRow.id == page.agent_id)
        .order_by(page.snapshot_at.desc(), page.id.desc())
        .limit(limit)
    )


_EPOCH = cast(literal("2000-01-01T00:00:00+00:00"), DateTime(timezone=True))


def sellers_query(
    since: datetime, agent_id: UUID | None, host: str | None = None, limit: int | None = None
) -> Select[*tuple[Any, ...]]:
    """One row for each host, those first that were asked most; columns are named like the fields of `SellerRow`.

    Amounts are in token units.
    """
    asked, paid = RequestRow, TransactionRow
    spent = paid.status.in_([TransactionStatus.SUCCESS, TransactionStatus.VERIFIED])
    columns = [
        HOST.label("host"),
        *_counts(),
        *(
            func.sum(paid.amount).filter(spent, paid.currency == each).label(f"{each.value.lower()}_amount")
            for each in Currency
        ),
        *_latencies(),
        func.max(asked.created_at).label("last_at"),
    ]
    query = _with_payments(select(*columns), since, agent_id)
    if host is not None:
        query = query.where(HOST.in_([host]))
    return query.group_by(HOST).order_by(func.count().desc(), HOST).limit(limit)


def seller_times_query(
    since: datetime, every: timedelta, agent_id: UUID | None, hosts: Sequence[str] | None
) -> Select[*tuple[Any, ...]]:
    """One row for each host and span; columns are named like the fields of `SellerTime`."""
    start = cast(literal(since), DateTime(timezone=True))
    at = func.date_bin(cast(every, Interval), RequestRow.created_at, start)
    query = _with_payments(select(HOST.label("host"), at.label("at"), *_counts(), *_latencies()), since, agent_id)
    if hosts is not None:
        query = query.where(HOST.in_(hosts))
    return query.group_by(HOST, at).order_by(at, HOST)


def _with_payments(query: Select[*tuple[Any, ...]], since: datetime, agent_id: UUID | None) -> Select[*tuple[Any, ...]]:
    """Requests since then, each with its payment that has not failed, of which there is one at most."""
    asked, paid = RequestRow, TransactionRow
    joined = query.select_from(asked).outerjoin(
        paid, and_(paid.x402_request_id == asked.x402_request_id, paid.status != TransactionStatus.FAILED)
    )
    joined = joined.where(asked.created_at >= since, asked.url.is_not(None))
    return joined if agent_id is None else joined.where(asked.agent_id == agent_id)


def _counts() -> list[ColumnElement[Any]]:
    outcome = STATUS
    got = [RequestStatus.DELIVERED.value, RequestStatus.FREE.value]
    counted: dict[str, ColumnElement[bool]] = {
        "requests": true(),
        "delivered": outcome.in_(got),
        "fresh": outcome == RequestStatus.FRESH.value,
        "undelivered": outcome == RequestStatus.UNDELIVERED.value,
        "failed": outcome == RequestStatus.FAILED.value,
        "refused": outcome == RequestStatus.REFUSED.value,
        "open": outcome.in_([RequestStatus.WAITING.value, RequestStatus.UNRESOLVED.value]),
    }
    return [func.count().filter(which).label(name) for name, which in counted.items()]


def _latencies() -> list[ColumnElement[Any]]:
    """From the signature to the content, milliseconds; of what was paid and delivered."""
    asked, paid = RequestRow, TransactionRow
    took = cast(func.extract("epoch", asked.answered_at - paid.created_at) * 1000, Float)
    measured = and_(asked.delivery == Delivery.DELIVERED, paid.id.is_not(None), asked.answered_at.is_not(None))
    return [
        func.percentile_cont(part).within_group(took).filter(measured).label(name)
        for part, name in ((0.5, "p50_ms"), (0.95, "p95_ms"))
    ]
