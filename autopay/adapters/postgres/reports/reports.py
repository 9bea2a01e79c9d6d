"""Reading the ledger row by row: payments, the audit trail, and what was spent. Pages go by a key, never by an offset.

A page is one short transaction; one deep in the past costs what the first one costs. Which index serves which query
is measured in `benchmarks/ledger.md`.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVarTuple
from uuid import UUID

from sqlalchemy import Row, Select, and_, func, or_, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from autopay.adapters.postgres.database.rows import atomic, attempt, request_record
from autopay.adapters.postgres.database.transaction import Database, agent_named, request_and_agent
from autopay.adapters.postgres.payments.attempts import attempts_of
from autopay.adapters.postgres.reports.flow import flow_of_one_query, flow_query, flow_row
from autopay.adapters.postgres.reports.queries import dearest_query, payments_query, spend_query, trail_query
from autopay.adapters.postgres.tables.core import AgentRow, RequestRow, TransactionRow
from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.payment.status import SPENT, Delivery, TransactionStatus
from autopay.domain.report.filter import NOT_ENDED, Cursor, Filter, Page, SpendBy, SpendCursor
from autopay.domain.report.flow import FlowRow
from autopay.domain.report.rows import (
    AttemptRow,
    ContentRow,
    DisputeRow,
    PaymentRow,
    RequestDetails,
    SpendRow,
    TimelineRow,
    TrailRow,
)

Columns = TypeVarTuple("Columns")

EXPORT_PAGE = 1_000
"""Rows in memory at a time when everything is read."""


EVERYTHING = Filter()


LONG_REPORT = "SET LOCAL statement_timeout = '10min'"
"""A sum over years of payments may take longer than what a payment waits for."""


class Reports:
    """Reading only."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def payments(
        self, wanted: Filter = EVERYTHING, *, after: str | None = None, limit: int = 50
    ) -> Page[PaymentRow]:
        """Payments with the requests that they were for, newest first.

        Args:
            wanted: which.
            after: a cursor: only what comes after that row.
            limit: rows of the page.

        Raises:
            UnknownAgent: there is none of that name.
            ValueError: `after` is not a cursor, or a word in `wanted.statuses` is not a payment's status.
        """
        place = None if after is None else Cursor.parse(after)
        async with self._database.transaction() as db:
            found = await db.execute(payments_query(wanted, await _agent_id(db, wanted), place, limit + 1))
            rows = [_payment_row(row) for row in found]
        return Page(rows=tuple(rows[:limit]), next=rows[limit - 1].cursor if len(rows) > limit else None)

    async def trail(self, wanted: Filter = EVERYTHING, *, after: str | None = None, limit: int = 50) -> Page[TrailRow]:
        """Transactions, requests and balances as one timeline (`audit_trail_view`), newest first; see `payments`."""
        place = None if after is None else Cursor.parse(after)
        async with self._database.transaction() as db:
            found = await db.execute(trail_query(wanted, await _agent_id(db, wanted), place, limit + 1))
            rows = [TrailRow.model_validate(dict(row._mapping)) for row in found]
        return Page(rows=tuple(rows[:limit]), next=rows[limit - 1].cursor if len(rows) > limit else None)

    async def every_payment(self, wanted: Filter = EVERYTHING) -> AsyncIterator[Sequence[PaymentRow]]:
        """All payments, newest first, in batches: bounded memory, and no transaction that stays open.

        Each row is as it stood when its batch was read; what is recorded meanwhile is newer and left out.
        """
        after: str | None = None
        while True:
            page = await self.payments(wanted, after=after, limit=EXPORT_PAGE)
            yield page.rows
            after = page.next
            if after is None:
                return

    async def spend(
        self,
        wanted: Filter = EVERYTHING,
        by: SpendBy | None = None,
        *,
        after: str | None = None,
        limit: int | None = None,
    ) -> Page[SpendRow]:
        """What was spent, by day, endpoint, seller, payee or agent, or in all; ordered by that.

        Never summed over currencies or networks.

        Args:
            wanted: of which payments.
            by: one sum for each.
            after: a cursor: only what comes after that row.
            limit: rows of the page; None: all.

        Raises:
            UnknownAgent: there is none of that name.
            ValueError: `after` is not a cursor.
        """
        place = None if after is None else SpendCursor.parse(after)
        most = None if limit is None else limit + 1
        rows = await self._sums(wanted, lambda agent_id: spend_query(wanted, agent_id, by, place, most))
        if limit is None or len(rows) <= limit:
            return Page(rows=tuple(rows), next=None)
        return Page(rows=tuple(rows[:limit]), next=rows[limit - 1].cursor)

    async def dearest(self, wanted: Filter, by: SpendBy, limit: int) -> Sequence[SpendRow]:
        """Of the same sums those of which most was spent, the greatest first."""
        return await self._sums(wanted, lambda agent_id: dearest_query(wanted, agent_id, by, limit))

    async def _sums(self, wanted: Filter, query: Callable[[UUID | None], Select[*tuple[Any, ...]]]) -> list[SpendRow]:
        async with self._database.transaction() as db:
            await db.execute(text(LONG_REPORT))
            return [_spend_row(row) for row in await db.execute(query(await _agent_id(db, wanted)))]

    async def spent(self, agent: str | None = None, network: Network | None = None) -> dict[Currency, int]:
        """Base units that were paid (SUCCESS and VERIFIED), by currency."""
        query = (
            select(TransactionRow.currency, func.sum(TransactionRow.amount))
            .where(TransactionRow.status.in_(SPENT))
            .group_by(TransactionRow.currency)
        )
        if network is not None:
            query = query.where(TransactionRow.network == network)
        async with self._database.transaction() as db:
            if agent is not None:
                query = query.where(TransactionRow.agent_id == (await agent_named(db, agent)).id)
            return {currency: atomic(total) for currency, total in await db.execute(query)}

    async def timeline(self, agent: str | None = None, limit: int = 50) -> Sequence[TimelineRow]:
        """Payments with the requests that they were for, newest first."""
        return (await self.payments(Filter(agent=agent), limit=limit)).rows

    async def flow(self, agent: str | None = None, *, open_limit: int = 20, ended_limit: int = 10) -> Sequence[FlowRow]:
        """Requests on their way: what has begun and not ended, then what was asked for last of all that has ended."""
        async with self._database.transaction() as db:
            agent_id = None if agent is None else (await agent_named(db, agent)).id
            under_way = await db.execute(flow_query(agent_id, ended=False, limit=open_limit))
            found = [flow_row(row) for row in under_way]
            ended = await db.execute(flow_query(agent_id, ended=True, limit=ended_limit))
            return [*found, *(flow_row(row) for row in ended)]

    async def flow_of(self, request_key: str) -> Sequence[FlowRow]:
        """One request on its way; empty when there is none of that key."""
        async with self._database.transaction() as db:
            return [flow_row(row) for row in await db.execute(flow_of_one_query(request_key))]

    async def request(self, request_key: str) -> RequestDetails:
        """All that is known of one request but its bytes and its timeline.

        Raises:
            UnknownRequest: there is none.
        """
        async with self._database.transaction() as db:
            row, agent = await request_and_agent(db, request_key)
            attempts = await attempts_of(db, request_key)
            size = await db.scalar(select(func.octet_length(RequestRow.body)).where(RequestRow.id == row.id))
        return RequestDetails(
            record=request_record(row, agent, attempts),
            asked_at=row.created_at,
            attempts=tuple(_attempt_row(attempt) for attempt in attempts),
            content=_content_row(row, size),
        )

    async def owners(self, request_id: str) -> Sequence[str]:
        """The agents that have a request of that id."""
        query = select(AgentRow.name).join(RequestRow, RequestRow.agent_id == AgentRow.id)
        async with self._database.transaction() as db:
            return (await db.scalars(query.where(RequestRow.request_id == request_id).order_by(AgentRow.name))).all()

    async def disputes(
        self, agent: str | None = None, *, after: str | None = None, limit: int = 50
    ) -> Page[DisputeRow]:
        """Requests that were paid and not delivered: first those whose payment still asks, then the newest.

        Raises:
            UnknownAgent: there is none of that name.
            ValueError: `after` is not a cursor.
        """
        query = (
            _disputed(select(RequestRow, TransactionRow, AgentRow.name))
            .join(AgentRow, AgentRow.id == RequestRow.agent_id)
            .order_by(_ENDED.desc(), RequestRow.id.desc())
            .limit(limit + 1)
        )
        if after is not None:
            place = Cursor.parse(after)
            query = query.where(tuple_(_ENDED, RequestRow.id) < (place.at, place.row_id))
        async with self._database.transaction() as db:
            if agent is not None:
                query = query.where(RequestRow.agent_id == (await agent_named(db, agent)).id)
            rows = [_dispute_row(request, paid, name) for request, paid, name in await db.execute(query)]
        return Page(rows=tuple(rows[:limit]), next=rows[limit - 1].cursor if len(rows) > limit else None)

    async def dispute_counts(self) -> tuple[int, int]:
        """How many requests were paid and not delivered, and how many of them have ended."""
        query = _disputed(select(func.count(), func.count(RequestRow.closed_at)).select_from(RequestRow))
        async with self._database.transaction() as db:
            every, ended = (await db.execute(query)).one()
        return every, ended

    async def dispute_owners(self, request_id: str) -> Sequence[str]:
        """The agents that have a request of that id which was paid and not delivered."""
        query = _disputed(select(AgentRow.name).join(RequestRow, RequestRow.agent_id == AgentRow.id))
        async with self._database.transaction() as db:
            found = await db.scalars(query.where(RequestRow.request_id == request_id).order_by(AgentRow.name))
            return list(dict.fromkeys(found))


_ENDED = func.coalesce(RequestRow.closed_at, NOT_ENDED)
_UNDELIVERED = and_(RequestRow.delivery == Delivery.UNDELIVERED, TransactionRow.status.in_(SPENT))
_STILL_ASKED_FOR = and_(
    RequestRow.delivery == Delivery.NONE,
    RequestRow.closed_at.is_(None),
    TransactionRow.status == TransactionStatus.VERIFIED,
)


def _disputed(query: Select[*Columns]) -> Select[*Columns]:
    """Of requests, those that were paid and not delivered, each with its payment."""
    paid = TransactionRow.x402_request_id == RequestRow.x402_request_id
    return query.join(TransactionRow, paid).where(or_(_UNDELIVERED, _STILL_ASKED_FOR))


async def _agent_id(db: AsyncSession, wanted: Filter) -> UUID | None:
    return None if wanted.agent is None else (await agent_named(db, wanted.agent)).id


def _payment_row(row: Row[Any]) -> PaymentRow:
    values = dict(row._mapping)
    return PaymentRow.model_validate(values | {"amount_atomic": atomic(values.pop("amount"))})


def _spend_row(row: Row[Any]) -> SpendRow:
    values = dict(row._mapping)
    amounts = {f"{name}_atomic": atomic(values.pop(f"{name}_amount")) for name in ("settled", "open")}
    return SpendRow.model_validate(values | amounts)


def _attempt_row(row: TransactionRow) -> AttemptRow:
    assert row.attempt_number is not None
    own = {"number": row.attempt_number, "status": row.status.value, "amount_atomic": atomic(row.amount)}
    more = {"transaction": row.hash, "receipt": row.facilitator_response}
    same = AttemptRow.model_fields.keys() - own.keys() - more.keys()
    return AttemptRow.model_validate({name: getattr(row, name) for name in same} | own | more)


def _content_row(row: RequestRow, size_bytes: int | None) -> ContentRow | None:
    if row.body_sha256 is None:
        return None
    return ContentRow(
        content_type=row.content_type,
        size_bytes=size_bytes,
        sha256=row.body_sha256,
        came_at=row.answered_at,
        pruned_at=row.body_pruned_at,
    )


def _dispute_row(request: RequestRow, paid: TransactionRow, agent: str) -> DisputeRow:
    return DisputeRow(
        row_id=request.id,
        request_id=request.request_id,
        agent=agent,
        url=request.url,
        method=request.method.value,
        amount_atomic=atomic(paid.amount),
        currency=paid.currency,
        pay_to=paid.pay_to,
        transaction=paid.hash,
        when=request.closed_at,
        http_status=request.response_status if paid.last_answer is not None else None,
        sends=paid.sends,
        sent_at=paid.sent_at,
        refused=attempt(paid).refused_since_settled,
        location=request.content_location,
    )
