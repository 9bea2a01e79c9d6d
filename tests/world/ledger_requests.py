"""Requests and sessions of the in-memory ledger: accepted once, begun, ended once; which key may pay, and how much."""

from collections.abc import Sequence
from uuid import UUID

from autopay.domain.agent.records import AgentRecord
from autopay.domain.agent.steps import Queued
from autopay.domain.errors import IllegalTransition
from autopay.domain.money import Currency
from autopay.domain.payment.exchange import UnpaidReply
from autopay.domain.payment.payment import Payment
from autopay.domain.payment.status import OPEN, TransactionStatus
from autopay.domain.refusal import RefusalReason, Refused
from autopay.domain.request import CLOSED, RequestRecord, RequestResult, RequestSpec, RequestStatus, x402_request_id
from autopay.domain.session import OpenSession
from tests.world.clock import moment, now_ms
from tests.world.rows import RequestEntry, SessionEntry
from tests.world.store import Store, transaction


class Requests(Store):
    """What was asked for, how it stands, and the sessions that may pay for it."""

    @transaction
    def agent(self, name: str) -> AgentRecord:
        """The agent of that name."""
        return self.agent_row(name)

    @transaction
    def accept(self, agent: str, spec: RequestSpec, priority_score: float, queue_limit: int) -> Refused | None:
        """Record and queue the request, once."""
        self.agent_row(agent)
        key = x402_request_id(agent, spec.request_id)
        if (known := self.requests.get(key)) is not None:
            if known.spec.terms_hash() == spec.terms_hash():
                return None
            return Refused(reason=RefusalReason.TERMS_DIFFER, message=f"request id {spec.request_id!r} has other terms")
        waiting = sum(1 for each in self.requests.values() if each.agent == agent and not each.processed)
        if waiting >= queue_limit:
            return Refused(reason=RefusalReason.QUEUE_FULL, message=f"{waiting} requests wait already")
        self.requests[key] = RequestEntry(key, agent, spec, priority_score, now_ms())
        self.faults.trace.add("accepted", request=key)
        return None

    @transaction
    def queue(self, agent: str) -> Sequence[Queued]:
        """What waits, the most urgent first."""
        waiting = [each for each in self.requests.values() if each.agent == agent and not each.processed]
        waiting.sort(key=lambda each: (-each.score, each.queued_at_ms))
        return [
            Queued(
                request_id=each.spec.request_id,
                url=each.spec.url,
                priority_score=each.score,
                queued_at=moment(each.queued_at_ms),
            )
            for each in waiting
        ]

    @transaction
    def open_requests(self, agent: str) -> Sequence[str]:
        """Begun and not ended."""
        mine = [each for each in self.requests.values() if each.agent == agent]
        return [each.spec.request_id for each in mine if each.processed and not each.closed]

    @transaction
    def begin(self, request_key: str) -> None:
        """Take the request from the queue."""
        self.request_row(request_key).processed = True

    @transaction
    def request(self, request_key: str) -> RequestRecord:
        """What was asked, and how it stands."""
        row = self.request_row(request_key)
        return RequestRecord(
            request_key=request_key,
            agent_id=self.agent_row(row.agent).agent_id,
            agent=row.agent,
            spec=row.spec,
            result=row.standing(),
            closed=row.closed,
        )

    @transaction
    def recall(self, request_key: str) -> Payment:
        """The payment as it stands."""
        return self.request_row(request_key).payment()

    @transaction
    def record_plain(self, request_key: str, plain: UnpaidReply) -> None:
        """What the seller said without a payment."""
        row = self.request_row(request_key)
        if row.delivery == "DELIVERED":
            return
        row.http_status = plain.reply.http_status
        if plain.challenge is None and 200 <= plain.reply.http_status < 300:
            row.delivery, row.body = "DELIVERED", plain.reply.body

    @transaction
    def close(self, request_key: str, result: RequestResult) -> None:
        """End the request; the first end stands, and none while a payment has no outcome."""
        row = self.request_row(request_key)
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
        self.faults.trace.add("closed", request=request_key, status=result.status.value)

    # Sessions

    @transaction
    def session(self, agent: str, currency: Currency) -> OpenSession | Refused:
        """The session that pays now, or why none does."""
        mine = [each for each in self.sessions if each.agent == agent and each.key.currency == currency]
        if not mine:
            return Refused(reason=RefusalReason.SESSION_MISSING, message=f"agent {agent} has no session in {currency}")
        newest = max(mine, key=lambda each: (each.status == "ACTIVE", each.created_at_ms))
        if newest.status == "ACTIVE" and newest.expires_at_ms <= now_ms():
            newest.status, newest.sealed_key = "EXPIRED", ""
        payments, spent = self.taken(newest.key.session_id)
        return self.session_refusal(newest, payments) or OpenSession(
            key=newest.key,
            sealed_key=newest.sealed_key,
            spent_atomic=spent,
            payments=payments,
            tx_limit=newest.tx_limit,
            expires_at=moment(newest.expires_at_ms),
        )

    def taken(self, session_id: UUID) -> tuple[int, int]:
        """Payments and base units: reserved until proven dead."""
        amounts = [
            each.amount_atomic
            for each in self.attempts.values()
            if each.session.session_id == session_id and each.status is not TransactionStatus.FAILED
        ]
        return len(amounts), sum(amounts)

    def session_refusal(self, session: SessionEntry, payments: int) -> Refused | None:
        if session.status == "REVOKED":
            return Refused(reason=RefusalReason.SESSION_MISSING, message="the agent's session was revoked")
        if session.status == "EXPIRED" or session.expires_at_ms <= now_ms():
            return Refused(reason=RefusalReason.SESSION_EXPIRED, message="the agent's session ended")
        if payments >= session.tx_limit:
            return Refused(reason=RefusalReason.SESSION_TX_LIMIT, message=f"limited to {session.tx_limit} payments")
        return None
