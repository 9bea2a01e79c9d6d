"""Requests: accepted once, queued, begun, and ended once."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from urllib.parse import urlsplit

from sqlalchemy import Select, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from autopay.adapters.postgres.payments.content import storable_text
from autopay.adapters.postgres.rows import is_open, payment, request_result, request_spec
from autopay.adapters.postgres.tables.core import AgentRow, QueueRow, RequestRow, TransactionRow
from autopay.adapters.postgres.transaction import Transactional, agent_named, locked_request, request_and_agent
from autopay.adapters.postgres.uuid7 import uuid7
from autopay.domain.agent.steps import Enqueued, Queued
from autopay.domain.errors import ContentPruned, IllegalTransition
from autopay.domain.money import to_units
from autopay.domain.payment.payment import Payment
from autopay.domain.payment.status import Delivery, TransactionStatus
from autopay.domain.refusal import RefusalReason, Refused
from autopay.domain.request import (
    CLOSED,
    HttpMethod,
    RequestRecord,
    RequestResult,
    RequestSpec,
    RequestStatus,
    payment_workflow_id,
    x402_request_id,
)

UNPAID = (RequestStatus.FAILED, RequestStatus.REFUSED, RequestStatus.FREE)
"""Ends that say that nothing was paid."""

WITH_CONTENT = (RequestStatus.DELIVERED, RequestStatus.FREE)
"""Ends that say that the content is stored."""

WAITING = QueueRow.processed_at.is_(None)

MOST_OPEN = timedelta(days=1)
"""Content that came this long after its request was made is not looked for: it is bought again, which is safe."""


class Requests(Transactional):
    """What was asked for, and how it stands."""

    async def accept(self, agent: str, spec: RequestSpec, priority_score: float, queue_limit: int) -> Refused | None:
        """Record and queue the request, once; see the port."""
        request_key = x402_request_id(agent, spec.request_id)
        async with self._transaction() as db:
            # The agent's row is locked: two calls with one id, or at the queue's limit, come one after the other.
            owner = await agent_named(db, agent, lock=True)
            known = await db.scalar(select(RequestRow).where(RequestRow.x402_request_id == request_key))
            if known is not None:
                return _compared(spec, known)
            waiting = await db.scalar(select(func.count()).where(QueueRow.agent_id == owner.id, WAITING))
            if (waiting or 0) >= queue_limit:
                message = f"{waiting} requests wait already, the limit is {queue_limit}"
                return Refused(reason=RefusalReason.QUEUE_FULL, message=message)
            row = _request_row(owner, request_key, spec)
            db.add(row)
            await db.flush()
            score = Decimal(repr(float(priority_score)))
            db.add(QueueRow(id=uuid7(), agent_id=owner.id, api_request_id=row.id, priority_score=score))
            return None

    async def answer_fresh(self, agent: str, spec: RequestSpec, since: datetime) -> Enqueued | None:
        """End a new request with content that came after that time; see the port."""
        request_key = x402_request_id(agent, spec.request_id)
        async with self._transaction() as db:
            owner = await agent_named(db, agent, lock=True)
            if await db.scalar(select(RequestRow.id).where(RequestRow.x402_request_id == request_key)) is not None:
                return None
            source = await db.scalar(_same_data(owner, spec, since))
            if source is None:
                return None
            result = RequestResult(
                request_id=spec.request_id,
                status=RequestStatus.FRESH,
                http_status=source.response_status,
                workflow_id=payment_workflow_id(agent, spec.request_id),
                content_of=source.request_id,
            )
            row = _request_row(owner, request_key, spec)
            row.outcome, row.result = result.status.value, _stored(result)
            row.closed_at = await db.scalar(select(func.clock_timestamp()))
            db.add(row)
            return Enqueued(status=result.status, content_of=source.request_id, content_at=source.answered_at)

    async def queue(self, agent: str) -> Sequence[Queued]:
        """What waits, the most urgent first; see the port."""
        async with self._transaction() as db:
            owner = await agent_named(db, agent)
            rows = await db.execute(
                select(RequestRow.request_id, RequestRow.url, QueueRow.priority_score, QueueRow.queued_at)
                .join(RequestRow, RequestRow.id == QueueRow.api_request_id)
                .where(QueueRow.agent_id == owner.id, WAITING, RequestRow.closed_at.is_(None))
                .order_by(QueueRow.priority_score.desc(), QueueRow.queued_at, QueueRow.id)
            )
            return [
                Queued(request_id=row[0] or "", url=row[1] or "", priority_score=float(row[2]), queued_at=row[3])
                for row in rows
            ]

    async def open_requests(self, agent: str) -> Sequence[str]:
        """Requests that were begun and have not ended, oldest first; see the port."""
        async with self._transaction() as db:
            owner = await agent_named(db, agent)
            rows = await db.scalars(
                select(RequestRow.request_id)
                .join(QueueRow, QueueRow.api_request_id == RequestRow.id)
                .where(
                    RequestRow.agent_id == owner.id,
                    QueueRow.processed_at.is_not(None),
                    RequestRow.closed_at.is_(None),
                    RequestRow.request_id.is_not(None),
                )
                .order_by(RequestRow.created_at, RequestRow.id)
            )
            return [request_id for request_id in rows if request_id is not None]

    async def begin(self, request_key: str) -> None:
        """Take the request from the queue; see the port."""
        async with self._transaction() as db:
            row = await locked_request(db, request_key)
            await _take_from_queue(db, row)

    async def request(self, request_key: str) -> RequestRecord:
        """What was asked, and how it stands; see the port."""
        async with self._transaction() as db:
            row, agent = await request_and_agent(db, request_key)
            attempts = await attempts_of(db, request_key)
        return RequestRecord(
            request_key=request_key,
            agent_id=row.agent_id,
            agent=agent,
            spec=request_spec(row),
            result=request_result(row, agent, attempts),
            closed=row.closed_at is not None,
        )

    async def result(self, request_key: str) -> RequestResult:
        """How the request stands now: live while it is open, its recorded end afterwards."""
        return (await self.request(request_key)).result

    async def content(self, request_key: str) -> tuple[str, bytes] | None:
        """Content type and bytes of what was delivered, or of what a FRESH request was answered with; None: nothing.

        Raises:
            ContentPruned: it was delivered, and thrown away since.
        """
        async with self._transaction() as db:
            row, agent = await request_and_agent(db, request_key)
            if row.outcome == RequestStatus.FRESH and row.result is not None:
                row, _ = await request_and_agent(db, x402_request_id(agent, str(row.result["content_of"])))
            if row.delivery is not Delivery.DELIVERED:
                return None
            if row.body_pruned_at is not None:
                raise ContentPruned(f"on {row.body_pruned_at:%F}")
            body = await db.scalar(select(RequestRow.body).where(RequestRow.id == row.id))
        return row.content_type or "application/octet-stream", body or b""

    async def content_at(self, request_key: str) -> datetime | None:
        """When what was delivered came; None when nothing was."""
        query = select(RequestRow.answered_at).where(
            RequestRow.x402_request_id == request_key, RequestRow.delivery == Delivery.DELIVERED
        )
        async with self._transaction() as db:
            return await db.scalar(query)

    async def recall(self, request_key: str) -> Payment:
        """The payment as it stands; see the port."""
        async with self._transaction() as db:
            row, _ = await request_and_agent(db, request_key)
            return payment(row, await attempts_of(db, request_key))

    async def close(self, request_key: str, result: RequestResult) -> None:
        """End the request; the first end stands, and none while a payment has no outcome; see the port."""
        async with self._transaction() as db:
            row = await locked_request(db, request_key)
            if row.closed_at is not None:
                return
            if result.status not in CLOSED:
                raise IllegalTransition(f"{request_key} cannot end as {result.status}")
            attempts = await attempts_of(db, request_key)
            if any(is_open(attempt) for attempt in attempts):
                raise IllegalTransition(f"{request_key} has a payment without an outcome, it cannot end")
            if result.status in UNPAID and any(attempt.status is TransactionStatus.VERIFIED for attempt in attempts):
                raise IllegalTransition(f"{request_key} was paid, it cannot end as {result.status}")
            if result.status in WITH_CONTENT and row.delivery is not Delivery.DELIVERED:
                raise IllegalTransition(f"{request_key} has no content, it cannot end as {result.status}")
            row.closed_at = await db.scalar(select(func.clock_timestamp()))
            row.outcome = result.status.value
            row.error_code = storable_text(result.error.type) if result.error else None
            row.error_message = storable_text(result.error.message) if result.error else None
            row.result = _stored(result)
            if result.status is RequestStatus.UNDELIVERED and row.delivery is Delivery.NONE:
                row.delivery = Delivery.UNDELIVERED
            await _take_from_queue(db, row)


async def attempts_of(db: AsyncSession, request_key: str) -> list[TransactionRow]:
    """The request's recorded attempts, oldest first."""
    rows = await db.scalars(
        select(TransactionRow)
        .where(TransactionRow.x402_request_id == request_key, TransactionRow.attempt_number.is_not(None))
        .order_by(TransactionRow.attempt_number)
    )
    return list(rows)


def _same_data(owner: AgentRow, spec: RequestSpec, since: datetime) -> Select[RequestRow]:
    """The newest content for the same method, URL and body that the agent got after that time."""
    return (
        select(RequestRow)
        .where(
            RequestRow.agent_id == owner.id,
            RequestRow.created_at > since - MOST_OPEN,
            RequestRow.url == spec.url,
            RequestRow.method == HttpMethod(spec.method),
            RequestRow.body_hash.is_not_distinct_from(spec.body_hash),
            RequestRow.delivery == Delivery.DELIVERED,
            RequestRow.answered_at > since,
            RequestRow.body_pruned_at.is_(None),
        )
        .order_by(RequestRow.answered_at.desc())
        .limit(1)
    )


async def _take_from_queue(db: AsyncSession, row: RequestRow) -> None:
    waiting = update(QueueRow).where(QueueRow.api_request_id == row.id, WAITING)
    await db.execute(waiting.values(processed_at=func.clock_timestamp()))


def _compared(spec: RequestSpec, known: RequestRow) -> Refused | None:
    if known.terms_hash == spec.terms_hash():
        return None
    message = f"request id {spec.request_id!r} was used before with {request_spec(known).differs_from(spec)}"
    return Refused(reason=RefusalReason.TERMS_DIFFER, message=message)


def _request_row(owner: AgentRow, request_key: str, spec: RequestSpec) -> RequestRow:
    return RequestRow(
        id=uuid7(),
        agent_id=owner.id,
        endpoint=urlsplit(spec.url).path or "/",
        method=HttpMethod(spec.method),
        request_id=spec.request_id,
        x402_request_id=request_key,
        url=spec.url,
        terms_hash=spec.terms_hash(),
        max_price=to_units(spec.max_price_atomic) if spec.max_price_atomic is not None else None,
        currency_preference=spec.currency,
        watch=spec.watch,
        sealed_extras=spec.sealed_extras,
        body_hash=spec.body_hash,
    )


def _stored(result: RequestResult) -> dict[str, object]:
    if result.error is not None:
        error = result.error.model_copy(update={"message": storable_text(result.error.message)})
        result = result.model_copy(update={"error": error})
    return result.model_dump(mode="json")
