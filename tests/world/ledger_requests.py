"""Requests of the in-memory ledger: accepted once, begun, and ended once."""

from autopay.domain.errors import IllegalTransition
from autopay.domain.payment.exchange import UnpaidReply
from autopay.domain.payment.status import OPEN, TransactionStatus
from autopay.domain.refusal import RefusalReason, Refused
from autopay.domain.request import CLOSED, RequestRecord, RequestResult, RequestSpec, RequestStatus, x402_request_id
from tests.world.clock import now_ms
from tests.world.rows import RequestEntry
from tests.world.store import Store, transaction


class MemoryRequests:
    """What was asked for, and how it ended."""

    def __init__(self, store: Store) -> None:
        self.store = store

    @transaction
    def accept(self, agent: str, spec: RequestSpec, priority_score: float, queue_limit: int) -> Refused | None:
        """Record and queue the request, once."""
        self.store.agent_row(agent)
        key = x402_request_id(agent, spec.request_id)
        if (known := self.store.requests.get(key)) is not None:
            if known.spec.terms_hash() == spec.terms_hash():
                return None
            return Refused(reason=RefusalReason.TERMS_DIFFER, message=f"request id {spec.request_id!r} has other terms")
        waiting = sum(1 for each in self.store.requests.values() if each.agent == agent and not each.processed)
        if waiting >= queue_limit:
            return Refused(reason=RefusalReason.QUEUE_FULL, message=f"{waiting} requests wait already")
        self.store.requests[key] = RequestEntry(key, agent, spec, priority_score, now_ms())
        self.store.faults.trace.add("accepted", request=key)
        return None

    @transaction
    def begin(self, request_key: str) -> None:
        """Take the request from the queue."""
        self.store.request_row(request_key).processed = True

    @transaction
    def get(self, request_key: str) -> RequestRecord:
        """What was asked, and how it stands."""
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
            row.delivery, row.body = "DELIVERED", plain.reply.body

    @transaction
    def close(self, request_key: str, result: RequestResult) -> None:
        """End the request; the first end stands, and none while a payment has no outcome."""
        row = self.store.request_row(request_key)
        if row.closed:
            return
        if result.status not in CLOSED:
            raise IllegalTransition(f"{request_key} cannot end as {result.status}")
        if any(each.status in OPEN for each in row.attempts):
            raise IllegalTransition(f"{request_key} has a payment without an outcome, it cannot end")
        unpaid = (RequestStatus.FAILED, RequestStatus.REFUSED, RequestStatus.FREE)
        if result.status in unpaid and any(each.status is TransactionStatus.VERIFIED for each in row.attempts):
            raise IllegalTransition(f"{request_key} was paid, it cannot end as {result.status}")
        if result.status in (RequestStatus.DELIVERED, RequestStatus.FREE) and row.delivery != "DELIVERED":
            raise IllegalTransition(f"{request_key} has no content, it cannot end as {result.status}")
        row.result, row.closed, row.processed = result, True, True
        if result.status is RequestStatus.UNDELIVERED and row.delivery == "NONE":
            row.delivery = "UNDELIVERED"
        self.store.faults.trace.add("closed", request=request_key, status=result.status.value)
