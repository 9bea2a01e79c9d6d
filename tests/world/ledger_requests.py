"""Requests of the in-memory ledger: accepted once, begun, and ended once."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from autopay.domain.agent.steps import Backlog, Enqueued, QueuedRequest, ToEnqueue
from autopay.domain.errors import IllegalTransition
from autopay.domain.payment.exchange import StoredContent, UnpaidReply
from autopay.domain.payment.status import OPEN, TransactionStatus
from autopay.domain.payment.steps import PaymentOrder, SettledAttempt
from autopay.domain.policy.records import ApprovalStatus
from autopay.domain.refusal import RefusalReason, Refused
from autopay.domain.request import (
    CLOSED,
    RequestRecord,
    RequestResult,
    RequestSpec,
    RequestStatus,
    payment_workflow_id,
    x402_request_id,
)
from tests.world.clock import moment, now_ms
from tests.world.rows import RequestEntry
from tests.world.store import Store, transaction


class MemoryRequests:
    """What was asked for, and how it ended."""

    def __init__(self, store: Store) -> None:
        self.store = store

    @transaction
    def accept(self, agent: str, spec: RequestSpec, priority_score: float, queue_limit: int) -> Refused | None:
        """Record and queue the request, once."""
        outcome = self._accept(agent, ToEnqueue(spec=spec, score=priority_score), queue_limit)
        return outcome if isinstance(outcome, Refused) else None

    @transaction
    def accept_many(self, agent: str, requests: Sequence[ToEnqueue], queue_limit: int) -> Sequence[Enqueued | Refused]:
        """Record and queue the requests, each once."""
        return [self._accept(agent, each, queue_limit) for each in requests]

    def _accept(self, agent: str, request: ToEnqueue, queue_limit: int) -> Enqueued | Refused:
        self.store.agent_row(agent)
        spec, key = request.spec, x402_request_id(agent, request.spec.request_id)
        if (known := self.store.requests.get(key)) is not None:
            if known.spec.terms_hash() == spec.terms_hash():
                result = known.standing()
                return Enqueued(status=result.status, content_of=result.content_of)
            return Refused(reason=RefusalReason.TERMS_DIFFER, message=f"request id {spec.request_id!r} has other terms")
        if request.fresh_since is not None:
            fresh = self._answer_fresh(agent, spec, request.fresh_since)
            if fresh is not None:
                return fresh
        waiting = sum(1 for each in self.store.requests.values() if each.agent == agent and not each.processed)
        if waiting >= queue_limit:
            return Refused(reason=RefusalReason.QUEUE_FULL, message=f"{waiting} requests wait already")
        self.store.requests[key] = RequestEntry(key, agent, spec, request.score, now_ms())
        self.store.faults.trace.add("accepted", request=key)
        return Enqueued(status=RequestStatus.WAITING)

    def _answer_fresh(self, agent: str, spec: RequestSpec, since: datetime) -> Enqueued | None:
        """End a new request with content that came after that time."""
        key = x402_request_id(agent, spec.request_id)
        same = [
            each
            for each in self.store.requests.values()
            if each.agent == agent
            and (each.spec.method, each.spec.url, each.spec.body_hash) == (spec.method, spec.url, spec.body_hash)
            and each.delivery == "DELIVERED"
            and moment(each.answered_at_ms) > since
        ]
        if not same:
            return None
        source = max(same, key=lambda each: each.answered_at_ms)
        result = RequestResult(
            request_id=spec.request_id,
            status=RequestStatus.FRESH,
            http_status=source.http_status,
            workflow_id=payment_workflow_id(agent, spec.request_id),
            content_of=source.spec.request_id,
        )
        row = RequestEntry(key, agent, spec, 0.0, now_ms(), processed=True, result=result, closed=True)
        self.store.requests[key] = row
        return Enqueued(status=result.status, content_of=result.content_of, content_at=moment(source.answered_at_ms))

    @transaction
    def backlog(self, agent: str) -> Backlog:
        """What waits, what is under way, and which of that waits for a person."""
        self.store.agent_row(agent)
        mine = [each for each in self.store.requests.values() if each.agent == agent and not each.closed]
        keys = {each.key: each.spec.request_id for each in mine}
        asked = {
            keys[each.request_key]: moment(each.created_at_ms)
            for each in self.store.approvals
            if each.request_key in keys and each.status is ApprovalStatus.PENDING
        }
        return Backlog(
            queue=tuple(_queued(each) for each in mine if not each.processed),
            open=tuple(_queued(each) for each in mine if each.processed),
            asked=asked,
        )

    @transaction
    def ended_among(self, agent: str, request_ids: Sequence[str]) -> tuple[Sequence[RequestResult], Sequence[str]]:
        """How those of the requests ended that have, and which of them nobody knows."""
        self.store.agent_row(agent)
        rows = {name: self.store.requests.get(x402_request_id(agent, name)) for name in request_ids}
        ended = [row.standing() for row in rows.values() if row is not None and row.closed]
        return ended, [name for name, row in rows.items() if row is None]

    @transaction
    def not_begun(self, agent: str, request_ids: Sequence[str]) -> Sequence[PaymentOrder]:
        """Those of the requests that wait in the queue still."""
        rows = [self.store.requests.get(x402_request_id(agent, each)) for each in request_ids]
        return [
            PaymentOrder(
                agent=agent,
                request_id=row.spec.request_id,
                request_key=row.key,
                url=row.spec.url,
                method=row.spec.method,
            )
            for row in rows
            if row is not None and not row.processed
        ]

    @transaction
    def begin(self, request_key: str) -> None:
        """Take the request from the queue."""
        self.store.request_row(request_key).processed = True

    @transaction
    def get(self, request_key: str) -> RequestRecord:
        """What was asked, and its state."""
        row = self.store.request_row(request_key)
        return RequestRecord(
            request_key=request_key,
            agent_id=self.store.agent_row(row.agent).agent_id,
            agent=row.agent,
            spec=row.spec,
            result=row.standing(),
            closed=row.closed,
        )

    @transaction
    def record_plain(self, request_key: str, plain: UnpaidReply) -> None:
        """What the seller said without a payment."""
        row = self.store.request_row(request_key)
        if row.delivery == "DELIVERED":
            return
        row.http_status = plain.reply.http_status
        if plain.challenge is None and 200 <= plain.reply.http_status < 300:
            row.store_content(plain.reply)

    @transaction
    def result(self, request_key: str) -> RequestResult:
        """The request's state now."""
        return self.store.request_row(request_key).standing()

    @transaction
    def content(self, request_key: str) -> StoredContent | None:
        """What was delivered, or what a FRESH request was answered with."""
        row = self.store.request_row(request_key)
        if row.result is not None and row.result.status is RequestStatus.FRESH:
            row = self.store.request_row(x402_request_id(row.agent, row.result.content_of or ""))
        if row.delivery != "DELIVERED":
            return None
        return StoredContent(
            content_type=row.content_type or "application/octet-stream",
            body=row.body or b"",
            complete=row.content_complete is not False,
            encoding=row.content_encoding,
        )

    @transaction
    def close(self, request_key: str, result: RequestResult, settled: SettledAttempt | None = None) -> None:
        """End the request; a second call changes nothing; it cannot end while a payment has no outcome."""
        row = self.store.request_row(request_key)
        if settled is not None:
            if self.store.attempt_row(settled.attempt_id).request_key != request_key:
                raise IllegalTransition(f"attempt {settled.attempt_id} is not of {request_key}")
            self.store.require_bookable(settled.attempt_id, settled.settlement, final=True)
        if not row.closed:
            _require_end(row, result, settled.attempt_id if settled else None)
        if settled is not None:  # nothing may fail from here on: both are changed, or neither
            self.store.book_transfer(settled.attempt_id, settled.settlement, final=True)
        if row.closed:
            return
        row.result, row.closed, row.processed = result, True, True
        if result.status is RequestStatus.UNDELIVERED and row.delivery == "NONE":
            row.delivery = "UNDELIVERED"
        self.store.faults.trace.add("closed", request=request_key, status=result.status.value)


def _require_end(row: RequestEntry, result: RequestResult, settled: UUID | None) -> None:
    """The request may end so, with that attempt VERIFIED.

    Raises:
        IllegalTransition: it may not.
    """
    if result.status not in CLOSED:
        raise IllegalTransition(f"{row.key} cannot end as {result.status}")
    if any(each.status in OPEN and each.attempt_id != settled for each in row.attempts):
        raise IllegalTransition(f"{row.key} has a payment without an outcome, it cannot end")
    unpaid = (RequestStatus.FAILED, RequestStatus.REFUSED, RequestStatus.FREE)
    paid = any(each.status is TransactionStatus.VERIFIED or each.attempt_id == settled for each in row.attempts)
    if result.status in unpaid and paid:
        raise IllegalTransition(f"{row.key} was paid, it cannot end as {result.status}")
    if result.status in (RequestStatus.DELIVERED, RequestStatus.FREE) and row.delivery != "DELIVERED":
        raise IllegalTransition(f"{row.key} has no content, it cannot end as {result.status}")


def _queued(row: RequestEntry) -> QueuedRequest:
    spec = row.spec
    return QueuedRequest(
        request_id=spec.request_id,
        url=spec.url,
        method=spec.method,
        score=row.score,
        queued_at=moment(row.queued_at_ms),
        watch=spec.watch,
        max_price_atomic=spec.max_price_atomic,
        currency=spec.currency,
        body_hash=spec.body_hash,
    )
