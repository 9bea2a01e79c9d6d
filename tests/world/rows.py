"""The rows of the in-memory ledger: plain values, as the database has them, so that anyone can read them."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from autopay.domain.network import Network
from autopay.domain.payment.attempt import RecordedAttempt, SignedPayment
from autopay.domain.payment.exchange import Reply
from autopay.domain.payment.payment import Attempt, ContentFacts, Dead, Payment, Settled, Settlement
from autopay.domain.payment.status import TransactionStatus
from autopay.domain.policy.policy import Awaiting, Terms
from autopay.domain.policy.records import ApprovalRecord, ApprovalStatus
from autopay.domain.request import RequestResult, RequestSpec, RequestStatus, payment_workflow_id
from autopay.domain.session import SessionKey
from tests.world.clock import moment, now_ms


@dataclass
class SessionEntry:
    """A session; `status` is ACTIVE, EXPIRED or REVOKED."""

    key: SessionKey
    agent: str
    sealed_key: str
    tx_limit: int
    created_at_ms: int
    expires_at_ms: int
    status: str = "ACTIVE"
    hosts: tuple[str, ...] = ()


@dataclass
class ApprovalEntry:
    """A question to a person; `status` as in the table."""

    approval_id: UUID
    agent: str
    request_key: str
    terms: Terms
    why: str
    created_at_ms: int
    expires_at_ms: int
    status: ApprovalStatus = ApprovalStatus.PENDING
    decided_at_ms: int | None = None

    def awaiting(self) -> Awaiting:
        """As the port gives it out."""
        return Awaiting(
            approval_id=self.approval_id,
            terms_hash=self.terms.hash(),
            why=self.why,
            currency=self.terms.currency,
            amount_atomic=self.terms.amount_atomic,
            pay_to=self.terms.pay_to,
            expires_at=moment(self.expires_at_ms),
        )

    def record(self) -> ApprovalRecord:
        """As people see it."""
        return ApprovalRecord(
            approval_id=self.approval_id,
            agent=self.agent,
            request_key=self.request_key,
            terms=self.terms,
            terms_hash=self.terms.hash(),
            why=self.why,
            status=self.status.value,
            created_at=moment(self.created_at_ms),
            expires_at=moment(self.expires_at_ms),
            decided_at=None if self.decided_at_ms is None else moment(self.decided_at_ms),
        )


@dataclass
class PayeeEntry:
    """A payee that an origin is known by."""

    network: Network
    origin: str
    pay_to: str
    accepted_by: str
    accepted_at_ms: int


@dataclass
class AttemptEntry:
    """A transaction row."""

    attempt_id: UUID
    request_key: str
    number: int
    session: SessionKey
    agent: str
    signed: SignedPayment
    recorded_seq: int
    recorded_at_ms: int
    status: TransactionStatus = TransactionStatus.PENDING
    claims: list[str] = field(default_factory=list)
    sends: int = 0
    settled_sends: int = 0
    signature: str | None = None
    slot: int | None = None
    last_answer: str | None = None
    facilitator_response: dict[str, object] | None = None
    error_code: str | None = None

    @property
    def amount_atomic(self) -> int:
        """What it pays."""
        return self.signed.offer.amount_atomic

    def recorded(self) -> RecordedAttempt:
        """As the port gives it out."""
        offer = self.signed.offer
        values: dict[str, Any] = self.signed.model_dump(exclude={"offer", "program"})
        return RecordedAttempt(
            **values,
            attempt_id=self.attempt_id,
            session_id=self.session.session_id,
            agent=self.agent,
            request_key=self.request_key,
            number=self.number,
            network=Network(offer.network),
            currency=offer.currency,
            mint=offer.mint,
            amount_atomic=offer.amount_atomic,
            pay_to=offer.pay_to,
            authority=self.session.authority,
            version=offer.version,
            claims=tuple(self.claims),
            status=self.status.value,
        )

    def settlement(self) -> Settlement:
        """The transfer that the chain showed."""
        assert self.signature is not None
        assert self.slot is not None
        return Settlement(
            signature=self.signature,
            slot=self.slot,
            payer=self.session.authority,
            destination=self.signed.destination_account,
            mint=self.signed.offer.mint,
            amount_atomic=self.amount_atomic,
        )

    @property
    def is_alive(self) -> bool:
        """Its money counts as spent: it is not proven dead."""
        return self.status is not TransactionStatus.FAILED

    def attempt(self) -> Attempt:
        """As a payment knows it."""
        outcome: Settled | Dead | None = None
        if self.status is TransactionStatus.VERIFIED:
            outcome = Settled(settlement=self.settlement())
        elif self.status is TransactionStatus.FAILED:
            outcome = Dead(reason=self.error_code or "unknown")
        return Attempt(
            number=self.number,
            sends=self.sends,
            settled_sends=self.settled_sends,
            seen=self.is_alive and self.signature is not None,
            outcome=outcome,
            signature=self.signature if self.is_alive else None,
            last_answer=self.last_answer,
        )


@dataclass
class RequestEntry:
    """A paid request's row; `delivery` is NONE, DELIVERED or UNDELIVERED."""

    key: str
    agent: str
    spec: RequestSpec
    score: float
    queued_at_ms: int
    processed: bool = False
    http_status: int | None = None
    conflict: bool = False
    delivery: str = "NONE"
    content_type: str | None = None
    body: bytes | None = None
    content_complete: bool | None = None
    content_encoding: str | None = None
    content_location: str | None = None
    answered_at_ms: int = 0
    result: RequestResult | None = None
    closed: bool = False
    attempts: list[AttemptEntry] = field(default_factory=list)

    def store_content(self, reply: Reply) -> None:
        """What was bought, or given away."""
        self.delivery, self.body, self.content_type = "DELIVERED", reply.body, reply.content_type
        self.content_complete, self.content_encoding = reply.complete, reply.encoding
        self.answered_at_ms = now_ms()

    def payment(self) -> Payment:
        """The payment so far."""
        answered = any(each.last_answer is not None for each in self.attempts)
        return Payment(
            attempts=tuple(each.attempt() for each in self.attempts),
            delivered=self.delivery == "DELIVERED",
            http_status=self.http_status if answered else None,
            content=ContentFacts(
                complete=self.content_complete, encoding=self.content_encoding, location=self.content_location
            ),
            conflict=self.conflict,
        )

    def standing(self) -> RequestResult:
        """Its recorded end, or what the rows say while it is open."""
        if self.result is not None:
            late = self.result.status is RequestStatus.UNDELIVERED and self.delivery == "DELIVERED"
            changes = {"status": RequestStatus.DELIVERED, "http_status": self.http_status, "error": None}
            return self.result.model_copy(update=(changes if late else {}) | self._of_content())
        paid = next((each for each in reversed(self.attempts) if each.is_alive), None)
        return RequestResult(
            request_id=self.spec.request_id,
            status=self._live_status(paid),
            http_status=self.http_status,
            price_atomic=paid.amount_atomic if paid else None,
            currency=paid.signed.offer.currency if paid else None,
            transaction=(paid.signature or next(reversed(paid.claims), None)) if paid else None,
            pay_to=paid.signed.offer.pay_to if paid else None,
            attempts=len(self.attempts),
            workflow_id=payment_workflow_id(self.agent, self.spec.request_id),
            **self._of_content(),
        )

    def _of_content(self) -> dict[str, Any]:
        return {
            "content_complete": self.content_complete,
            "content_encoding": self.content_encoding,
            "content_location": self.content_location,
        }

    def _live_status(self, paid: AttemptEntry | None) -> RequestStatus:
        if self.delivery == "DELIVERED":
            return RequestStatus.DELIVERED if self.attempts else RequestStatus.FREE
        if self.delivery == "UNDELIVERED":
            return RequestStatus.UNDELIVERED
        return RequestStatus.WAITING if paid is None else RequestStatus.UNRESOLVED
