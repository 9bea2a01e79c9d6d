"""Requests: accepted once, queued, begun, and ended once."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from autopay.adapters.postgres.database.notifier import LATER_S
from autopay.adapters.postgres.database.rows import atomic, request_record, request_result
from autopay.adapters.postgres.database.transaction import Database, agent_named, locked_request, request_and_agent
from autopay.adapters.postgres.database.writes import CLOCK, changed, differing, write
from autopay.adapters.postgres.payments.acceptance import accept_many
from autopay.adapters.postgres.payments.attempts import (
    attempts_of,
    booking,
    locked_attempt_and_request,
    write_booking,
)
from autopay.adapters.postgres.payments.content import Prepared, prepared, storable, storable_text
from autopay.adapters.postgres.tables.core import AgentRow, QueueRow, RequestRow, TransactionRow
from autopay.adapters.postgres.tables.policy import ApprovalRow
from autopay.domain.agent.status import BreakerState
from autopay.domain.agent.steps import Backlog, Enqueued, QueuedRequest, ToEnqueue
from autopay.domain.errors import ContentPruned, IllegalTransition
from autopay.domain.payment.adoption import ASK_AGAIN, Unfinished
from autopay.domain.payment.exchange import Reply, StoredContent, UnpaidReply
from autopay.domain.payment.status import OPEN, Delivery, TransactionStatus
from autopay.domain.payment.steps import AttemptRef, PaymentOrder, SettledAttempt
from autopay.domain.policy.records import ApprovalStatus
from autopay.domain.refusal import Refused
from autopay.domain.request import (
    CLOSED,
    HttpMethod,
    RequestRecord,
    RequestResult,
    RequestSpec,
    RequestStatus,
    x402_request_id,
)

UNPAID = (RequestStatus.FAILED, RequestStatus.REFUSED, RequestStatus.FREE)
"""Ends that say that nothing was paid."""


WITH_CONTENT = (RequestStatus.DELIVERED, RequestStatus.FREE)
"""Ends that say that the content is stored."""


MAX_OFFSET = 2**31 - 2
"""PostgreSQL counts bytes of a value with 32 bits."""


WAITING = QueueRow.processed_at.is_(None)


class Requests:
    """Implements the port `AgentRequests`, and what people ask about requests."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def accept(self, agent: str, spec: RequestSpec, priority_score: float, queue_limit: int) -> Refused | None:
        """Accept one request, whatever is fresh: see `accept_many`."""
        (outcome,) = await self.accept_many(agent, [ToEnqueue(spec=spec, score=priority_score)], queue_limit)
        return outcome if isinstance(outcome, Refused) else None

    async def accept_many(
        self, agent: str, requests: Sequence[ToEnqueue], queue_limit: int
    ) -> Sequence[Enqueued | Refused]:
        """Record and queue the requests, each once; see the port."""
        async with self._database.transaction(notify_within_s=LATER_S) as db:
            return await accept_many(db, agent, requests, queue_limit)

    async def backlog(self, agent: str) -> Backlog:
        """What waits, what is under way, and which of that waits for a person; see the port."""
        async with self._database.transaction() as db:
            owner = await agent_named(db, agent)
            rows = await db.execute(
                select(RequestRow, QueueRow.priority_score, QueueRow.queued_at, QueueRow.processed_at)
                .join(QueueRow, QueueRow.api_request_id == RequestRow.id)
                .where(
                    RequestRow.agent_id == owner.id, RequestRow.closed_at.is_(None), RequestRow.request_id.is_not(None)
                )
                .order_by(QueueRow.queued_at, QueueRow.id)
                .options(defer(RequestRow.sealed_extras))
            )
            waiting: list[QueuedRequest] = []
            begun: list[QueuedRequest] = []
            for row, score, queued_at, processed_at in rows:
                values = {"queued_at": queued_at, "score": float(score)}
                (waiting if processed_at is None else begun).append(_queued(row, values))
            asked = await db.execute(
                select(RequestRow.request_id, ApprovalRow.created_at)
                .join(ApprovalRow, ApprovalRow.x402_request_id == RequestRow.x402_request_id)
                .where(
                    RequestRow.agent_id == owner.id,
                    RequestRow.closed_at.is_(None),
                    ApprovalRow.status == ApprovalStatus.PENDING,
                )
            )
            since = {request_id: at for request_id, at in asked if request_id is not None}
        return Backlog(queue=tuple(waiting), open=tuple(begun), asked=since)

    async def unfinished(self, *, older_than_s: float, after: UUID | None, limit: int) -> Sequence[Unfinished]:
        """Requests of all agents that were begun and have not ended, by their row's id; see the port `OpenBook`."""
        before = func.now() - timedelta(seconds=older_than_s)
        begun = select(QueueRow.id).where(QueueRow.api_request_id == RequestRow.id, QueueRow.processed_at < before)
        signed = select(TransactionRow.id).where(
            TransactionRow.x402_request_id == RequestRow.x402_request_id,
            TransactionRow.status.in_(OPEN),
            TransactionRow.attempt_number.is_not(None),
            TransactionRow.created_at < before,
        )
        query = (
            select(RequestRow, AgentRow.name)
            .join(AgentRow, AgentRow.id == RequestRow.agent_id)
            .where(RequestRow.closed_at.is_(None), RequestRow.request_id.is_not(None), RequestRow.url.is_not(None))
            .where(or_(begun.exists(), signed.exists()))
            .order_by(RequestRow.id)
            .limit(limit)
        )
        if after is not None:
            query = query.where(RequestRow.id > after)
        async with self._database.transaction() as db:
            return [_unfinished(row, name) for row, name in await db.execute(query)]

    async def owed(self, *, ask_for: timedelta, limit: int) -> Sequence[AttemptRef]:
        """Settled attempts of undelivered requests whose seller is to be asked again now; see the port."""
        since_end = TransactionRow.sent_at - RequestRow.closed_at
        due = TransactionRow.sent_at + func.greatest(ASK_AGAIN, since_end)
        query = (
            select(RequestRow, AgentRow.name, TransactionRow.attempt_number)
            .join(AgentRow, AgentRow.id == RequestRow.agent_id)
            .join(TransactionRow, TransactionRow.x402_request_id == RequestRow.x402_request_id)
            .where(
                RequestRow.delivery == Delivery.UNDELIVERED,
                TransactionRow.status == TransactionStatus.VERIFIED,
                ~refused_since_settled(),
                due <= func.least(func.now(), RequestRow.closed_at + ask_for),
            )
            .order_by(TransactionRow.sent_at)
            .limit(limit)
            .options(defer(RequestRow.sealed_extras))
        )
        async with self._database.transaction() as db:
            found = await db.execute(query)
            return [AttemptRef(order=_order(row, name), number=number) for row, name, number in found]

    async def begin(self, request_key: str) -> None:
        """Take the request from the queue; see the port."""
        async with self._database.transaction() as db:
            row = await locked_request(db, request_key)
            await take_from_queue(db, row)

    async def get(self, request_key: str) -> RequestRecord:
        """What was asked, and its state; see the port."""
        async with self._database.transaction() as db:
            row, agent = await request_and_agent(db, request_key)
            attempts = await attempts_of(db, request_key)
        return request_record(row, agent, attempts)

    async def result(self, request_key: str) -> RequestResult:
        """The request's state now: live while it is open, its recorded end afterwards."""
        return (await self.get(request_key)).result

    async def content(self, request_key: str) -> StoredContent | None:
        """What was delivered, or what a FRESH request was answered with; None: nothing.

        Raises:
            ContentPruned: it was delivered, and thrown away since.
        """
        async with self._database.transaction() as db:
            row = await _row_with_content(db, request_key)
            if row is None:
                return None
            body = await db.scalar(select(RequestRow.body).where(RequestRow.id == row.id))
        return StoredContent(
            content_type=row.content_type or "application/octet-stream",
            body=body or b"",
            complete=row.content_complete is not False,
            encoding=row.content_encoding,
        )

    async def content_part(self, request_key: str, sha256: str, offset: int, length: int) -> bytes | None:
        """So many bytes of the content from `offset` (0 or more) on; None when none of that SHA-256 (hex) is there.

        Raises:
            ContentPruned: it was delivered, and thrown away since.
        """
        async with self._database.transaction() as db:
            row = await _row_with_content(db, request_key)
            if row is None or row.body_sha256 != sha256:
                return None
            part = func.substring(RequestRow.body, min(offset, MAX_OFFSET) + 1, length)
            return await db.scalar(select(part).where(RequestRow.id == row.id)) or b""

    async def content_at(self, request_key: str) -> datetime | None:
        """When what was delivered came; None when nothing was."""
        query = select(RequestRow.answered_at).where(
            RequestRow.x402_request_id == request_key, RequestRow.delivery == Delivery.DELIVERED
        )
        async with self._database.transaction() as db:
            return await db.scalar(query)

    async def answered_among(self, request_keys: Sequence[str]) -> Sequence[str]:
        """Those of the requests that have ended, or whose content has come."""
        is_answered = or_(RequestRow.closed_at.is_not(None), RequestRow.delivery == Delivery.DELIVERED)
        query = select(RequestRow.x402_request_id).where(RequestRow.x402_request_id.in_(request_keys), is_answered)
        async with self._database.transaction() as db:
            return [key for key in await db.scalars(query) if key is not None]

    async def ended_among(
        self, agent: str, request_ids: Sequence[str]
    ) -> tuple[Sequence[RequestResult], Sequence[str]]:
        """How those of the requests ended that have, and which of them nobody knows; see the port."""
        async with self._database.transaction() as db:
            owner = await agent_named(db, agent)
            mine = RequestRow.agent_id == owner.id
            rows = select(RequestRow).where(mine, RequestRow.request_id.in_(request_ids))
            found = (await db.scalars(rows.options(defer(RequestRow.sealed_extras)))).all()
        known = {row.request_id for row in found}
        ended = [request_result(row, agent, []) for row in found if row.closed_at is not None]
        return ended, [each for each in request_ids if each not in known]

    async def not_begun(self, agent: str, request_ids: Sequence[str]) -> Sequence[PaymentOrder]:
        """Those of the requests that wait in the queue still; see the port."""
        async with self._database.transaction() as db:
            owner = await agent_named(db, agent)
            waiting = (
                select(RequestRow)
                .join(QueueRow, QueueRow.api_request_id == RequestRow.id)
                .where(RequestRow.agent_id == owner.id, RequestRow.request_id.in_(request_ids), WAITING)
                .options(defer(RequestRow.sealed_extras))
            )
            return [_order(row, agent) for row in await db.scalars(waiting)]

    async def record_plain(self, request_key: str, plain: UnpaidReply) -> None:
        """What the seller said without a payment; see the port."""
        is_content = plain.challenge is None and 200 <= plain.reply.http_status < 300
        content = await prepared(plain.reply) if is_content else None
        async with self._database.transaction() as db:
            row = await locked_request(db, request_key)
            if row.delivery is Delivery.DELIVERED:
                return
            values: dict[str, Any] = {"response_status": plain.reply.http_status}
            if plain.breaker is not None:
                values["circuit_breaker_state"] = BreakerState(plain.breaker)
            if plain.challenge is not None:
                values["x402_instructions"] = storable(plain.challenge.model_dump(mode="json"))
            values = differing(row, values)
            if content is not None:
                values |= content_values(plain.reply, content)
            await write(db, changed(RequestRow, values, id=row.id))

    async def close(self, request_key: str, result: RequestResult, settled: SettledAttempt | None = None) -> None:
        """End the request, once, and not while a payment has no outcome; see the port."""
        later = LATER_S if settled is not None else 0  # the content has been told of
        async with self._database.transaction(notify_within_s=later) as db:
            if settled is None:
                row = await locked_request(db, request_key)
                if row.closed_at is None:
                    values = _end(row, result, [attempt.status for attempt in await attempts_of(db, request_key)])
                    await write(db, changed(RequestRow, values, id=row.id))
                    await take_from_queue(db, row)
                return
            attempt, row = await locked_attempt_and_request(db, settled.attempt_id)
            if row.x402_request_id != request_key:
                raise IllegalTransition(f"attempt {settled.attempt_id} is not of {request_key}")
            booked = changed(TransactionRow, booking(attempt, settled.settlement, final=True), id=attempt.id)
            # Every other attempt is FAILED, as only one of a request may be anything else (a unique index), and the
            # queue was left when this one was recorded.
            values = _end(row, result, [TransactionStatus.VERIFIED]) if row.closed_at is None else {}
            await write_booking(db, booked, changed(RequestRow, values, id=row.id))


async def _row_with_content(db: AsyncSession, request_key: str) -> RequestRow | None:
    """The row of the request that has this one's content: itself, or the one that a FRESH request was answered with.

    Raises:
        ContentPruned: the content was thrown away.
    """
    row, agent = await request_and_agent(db, request_key)
    if row.outcome == RequestStatus.FRESH and row.result is not None:
        row, _ = await request_and_agent(db, x402_request_id(agent, str(row.result["content_of"])))
    if row.delivery is not Delivery.DELIVERED:
        return None
    if row.body_pruned_at is not None:
        raise ContentPruned(f"on {row.body_pruned_at:%F}")
    return row


def _end(row: RequestRow, result: RequestResult, attempts: Sequence[TransactionStatus]) -> dict[str, Any]:
    """What changes in the row of a request that ends so.

    Raises:
        IllegalTransition: it cannot end so.
    """
    if result.status not in CLOSED:
        raise IllegalTransition(f"{row.x402_request_id} cannot end as {result.status}")
    if any(status in OPEN for status in attempts):
        raise IllegalTransition(f"{row.x402_request_id} has a payment without an outcome, it cannot end")
    if result.status in UNPAID and TransactionStatus.VERIFIED in attempts:
        raise IllegalTransition(f"{row.x402_request_id} was paid, it cannot end as {result.status}")
    if result.status in WITH_CONTENT and row.delivery is not Delivery.DELIVERED:
        raise IllegalTransition(f"{row.x402_request_id} has no content, it cannot end as {result.status}")
    values: dict[str, Any] = {
        "closed_at": CLOCK,
        "outcome": result.status.value,
        "error_code": storable_text(result.error.type) if result.error else None,
        "error_message": storable_text(result.error.message) if result.error else None,
        "result": _stored(result),
    }
    if result.status is RequestStatus.UNDELIVERED and row.delivery is Delivery.NONE:
        values["delivery"] = Delivery.UNDELIVERED
    return values


def content_values(reply: Reply, content: Prepared) -> dict[str, Any]:
    """What keeps what was bought in the row of its request: its hash, whether it is whole, and when it came."""
    return {
        "answered_at": CLOCK,
        "body": reply.body,
        "body_sha256": content.sha256,
        "success_payload": content.payload,
        "content_type": storable_text(reply.content_type) if reply.content_type is not None else None,
        "content_complete": reply.complete,
        "content_encoding": storable_text(reply.encoding) if reply.encoding is not None else None,
        "delivery": Delivery.DELIVERED,
    }


async def take_from_queue(db: AsyncSession, row: RequestRow) -> None:
    """The request has begun: it waits no more."""
    waiting = update(QueueRow).where(QueueRow.api_request_id == row.id, WAITING)
    await db.execute(waiting.values(processed_at=func.clock_timestamp()))


def _stored(result: RequestResult) -> dict[str, object]:
    if result.error is not None:
        error = result.error.model_copy(update={"message": storable_text(result.error.message)})
        result = result.model_copy(update={"error": error})
    return result.model_dump(mode="json")


def _queued(row: RequestRow, values: dict[str, Any]) -> QueuedRequest:
    price = None if row.max_price is None else atomic(row.max_price)
    same = {"request_id": row.request_id, "url": row.url, "watch": row.watch, "body_hash": row.body_hash}
    more = {"method": HttpMethod(row.method).value, "max_price_atomic": price, "currency": row.currency_preference}
    return QueuedRequest.model_validate(same | more | values)


def refused_since_settled() -> ColumnElement[bool]:
    """Whether the seller of an attempt refused for good when it could know that it was paid."""
    return (TransactionRow.settled_sends > 0) & TransactionRow.last_answer.is_not_distinct_from("conflict")


def _unfinished(row: RequestRow, agent: str) -> Unfinished:
    return Unfinished(row_id=row.id, order=_order(row, agent))


def _order(row: RequestRow, agent: str) -> PaymentOrder:
    order = {
        "agent": agent,
        "request_id": row.request_id,
        "request_key": row.x402_request_id,
        "url": row.url,
        "method": row.method.value,
    }
    return PaymentOrder.model_validate(order)
