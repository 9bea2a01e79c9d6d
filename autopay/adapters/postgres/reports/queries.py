"""The readers' queries, without running them: the benchmark explains the very same ones. Pure."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Date,
    Integer,
    Numeric,
    Select,
    Text,
    Uuid,
    cast,
    column,
    desc,
    func,
    literal,
    select,
    table,
    tuple_,
)
from sqlalchemy.types import DateTime

from autopay.adapters.postgres.tables.core import AgentRow, RequestRow, TransactionRow
from autopay.domain.money import to_units
from autopay.domain.payment.status import OPEN, TransactionStatus
from autopay.domain.report.filter import Cursor, Filter, SpendBy, SpendCursor

Conditions = Iterator[ColumnElement[bool]]

TRAIL = table(
    "audit_trail_view",
    column("agent_id", Uuid()),
    column("kind", Text()),
    column("id", Uuid()),
    column("created_at", DateTime(timezone=True)),
    column("status", Text()),
    column("amount", Numeric()),
    column("currency", TransactionRow.__table__.c.currency.type),
    column("endpoint", Text()),
    column("hash", Text()),
    column("x402_request_id", Text()),
    column("error", Text()),
    column("request_id", Text()),
    column("attempt_number", Integer()),
    column("delivery", Text()),
    column("verification_hash", Text()),
)
"""The view of revision 0007."""


def payments_query(wanted: Filter, agent_id: UUID | None, after: Cursor | None, limit: int) -> Select[*tuple[Any, ...]]:
    """Payments, newest first; columns are named like the fields of `PaymentRow`."""
    paid, asked = TransactionRow, RequestRow
    # The page is chosen within one index that holds all that is filtered by; only its rows are then read whole.
    chosen = select(paid.id).where(*_payments(wanted, agent_id))
    if after is not None:
        chosen = chosen.where(tuple_(paid.created_at, paid.id) < (after.at, after.row_id))
    page = chosen.order_by(paid.created_at.desc(), paid.id.desc()).limit(limit).subquery()
    return (
        select(
            paid.id.label("attempt_id"),
            paid.created_at,
            AgentRow.name.label("agent"),
            asked.request_id,
            paid.x402_request_id.label("request_key"),
            asked.url,
            asked.endpoint,
            paid.attempt_number.label("number"),
            paid.sends,
            paid.status,
            asked.delivery,
            paid.amount,
            paid.currency,
            paid.network,
            paid.pay_to,
            paid.hash,
            paid.error_type,
            paid.error_code,
            paid.verification_hash,
        )
        .join(page, page.c.id == paid.id)
        .join(AgentRow, AgentRow.id == paid.agent_id)
        .outerjoin(asked, asked.x402_request_id == paid.x402_request_id)
        .order_by(paid.created_at.desc(), paid.id.desc())
    )


def trail_query(wanted: Filter, agent_id: UUID | None, after: Cursor | None, limit: int) -> Select[*tuple[Any, ...]]:
    """The audit trail, newest first; columns are named like the fields of `TrailRow`."""
    of = TRAIL.c
    name = select(AgentRow.name).where(AgentRow.id == of.agent_id).scalar_subquery()
    query = (
        select(TRAIL, name.label("agent"))
        .where(*_trail(wanted, agent_id))
        .order_by(of.created_at.desc(), of.id.desc())
        .limit(limit)
    )
    if after is not None:
        # `<=` on the time alone reaches the indexes below the view, which a row of two columns does not.
        query = query.where(of.created_at <= after.at, tuple_(of.created_at, of.id) < (after.at, after.row_id))
    return query


def spend_query(
    wanted: Filter,
    agent_id: UUID | None,
    by: SpendBy | None,
    after: SpendCursor | None = None,
    limit: int | None = None,
) -> Select[*tuple[Any, ...]]:
    """Sums, ordered by key, network and currency; without a key last. See `_sums_query`."""
    query, keys = _sums_query(wanted, agent_id, by)
    if after is not None and by is not None:
        missing, text = after.key is None, after.key or ""
        key, network, currency = keys
        query = query.where(
            tuple_(key.is_(None), func.coalesce(key, ""), network, currency)
            > tuple_(literal(missing), literal(text), literal(after.network), literal(after.currency))
        )
    return query.order_by(*keys).limit(limit)


def dearest_query(wanted: Filter, agent_id: UUID | None, by: SpendBy, limit: int) -> Select[*tuple[Any, ...]]:
    """The same sums, the greatest first."""
    query, keys = _sums_query(wanted, agent_id, by)
    return query.order_by(desc("settled_amount").nulls_last(), desc("open_amount").nulls_last(), *keys).limit(limit)


def _sums_query(
    wanted: Filter, agent_id: UUID | None, by: SpendBy | None
) -> tuple[Select[*tuple[Any, ...]], tuple[ColumnElement[Any], ...]]:
    """Sums by key (if any), network and currency, and these; columns are named like the fields of `SpendRow`.

    Amounts are in token units.
    """
    paid = TransactionRow
    key = _key(by)
    settled, still_open = paid.status == TransactionStatus.VERIFIED, paid.status.in_(OPEN)
    query = select(
        key.label("key"),
        paid.network,
        paid.currency,
        func.sum(paid.amount).filter(settled).label("settled_amount"),
        func.count().filter(settled).label("settled"),
        func.sum(paid.amount).filter(still_open).label("open_amount"),
        func.count().filter(still_open).label("open"),
        func.count().filter(paid.status == TransactionStatus.FAILED).label("failed"),
    )
    if by is SpendBy.AGENT:
        query = query.join(AgentRow, AgentRow.id == paid.agent_id)
    network, currency = paid.network.expression, paid.currency.expression
    keys = (key, network, currency) if by is not None else (network, currency)
    return query.where(*_payments(wanted, agent_id)).group_by(*keys), keys


def _key(by: SpendBy | None) -> ColumnElement[Any]:
    match by:
        case None:
            return cast(None, Text())
        case SpendBy.DAY:
            return cast(cast(func.timezone("UTC", TransactionRow.created_at), Date()), Text())
        case SpendBy.ENDPOINT:
            return TransactionRow.endpoint.expression
        case SpendBy.SELLER:
            return TransactionRow.host.expression
        case SpendBy.PAYEE:
            return TransactionRow.pay_to.expression
        case SpendBy.AGENT:
            return AgentRow.name.expression


def _payments(wanted: Filter, agent_id: UUID | None) -> Conditions:
    yield from _in_either(TransactionRow, wanted, agent_id)
    if len(wanted.statuses) == 1:
        yield TransactionRow.status == TransactionStatus(wanted.statuses[0])  # `=` keeps the index's order
    elif wanted.statuses:
        yield TransactionRow.status.in_([TransactionStatus(word) for word in wanted.statuses])


def _trail(wanted: Filter, agent_id: UUID | None) -> Conditions:
    yield from _in_either(TRAIL.c, wanted, agent_id)
    if wanted.statuses:
        yield func.upper(TRAIL.c.status).in_([word.upper() for word in wanted.statuses])


def _in_either(of: Any, wanted: Filter, agent_id: UUID | None) -> Conditions:
    """What is filtered alike in the table of payments and in the trail, by columns of the same names."""
    if agent_id is not None:
        yield of.agent_id == agent_id
    if wanted.endpoint is not None:
        yield of.endpoint.like(like_pattern(wanted.endpoint))
    if wanted.since is not None:
        yield of.created_at >= wanted.since
    if wanted.until is not None:
        yield of.created_at < wanted.until
    if wanted.min_atomic is not None:
        yield of.amount >= to_units(wanted.min_atomic)
    if wanted.max_atomic is not None:
        yield of.amount <= to_units(wanted.max_atomic)
    if wanted.currency is not None:
        yield of.currency == wanted.currency


def like_pattern(glob: str) -> str:
    r"""The LIKE pattern of a glob: `*` is any text, `?` any character, all else is itself."""
    escaped = glob.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    return escaped.replace("*", "%").replace("?", "_")
