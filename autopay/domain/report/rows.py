"""What reports are made of: a payment, one request, a row of the audit trail, a dispute, a sum."""

from datetime import datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.report.filter import NOT_ENDED, Cursor, SpendCursor
from autopay.domain.request import RequestRecord
from autopay.domain.values import Value


class TimelineRow(Value):
    """One payment with the request that it was for, as `ledger show` lists it. `hash` is the chain's signature."""

    attempt_id: UUID
    created_at: datetime
    agent: str
    request_id: str | None
    request_key: str
    url: str | None
    endpoint: str | None
    number: int | None
    sends: int
    status: str
    delivery: Literal["NONE", "DELIVERED", "UNDELIVERED"] | None
    amount_atomic: int
    currency: Currency
    network: Network
    pay_to: str | None
    hash: str | None
    error_type: str | None
    error_code: str | None
    verification_hash: str | None


class DisputeRow(Value):
    """A request that was paid and not delivered. `http_status` is the seller's last answer to the payment, if any.

    `when` is when the request ended; None while its payment still asks the seller. `refused`: the seller refuses for
    good since it has the money. `location` is where the seller says that the content is.
    """

    row_id: UUID
    request_id: str | None
    agent: str
    url: str | None
    method: str
    amount_atomic: int
    currency: Currency
    pay_to: str | None
    transaction: str | None
    when: datetime | None
    http_status: int | None
    sends: int
    sent_at: datetime | None
    refused: bool
    location: str | None

    @property
    def cursor(self) -> str:
        """Where a list that ended with this row goes on; what has not ended comes first."""
        return str(Cursor(at=self.when or NOT_ENDED, row_id=self.row_id))


class PaymentRow(TimelineRow):
    """A payment in a list."""

    @property
    def cursor(self) -> str:
        """Where a list that ended with this row goes on."""
        return str(Cursor(at=self.created_at, row_id=self.attempt_id))


class AttemptRow(Value):
    """One payment of a request. `transaction` is the settlement's signature on chain, `receipt` the seller's word."""

    number: int
    created_at: datetime
    status: str
    amount_atomic: int
    currency: Currency
    network: Network
    pay_to: str | None
    transaction: str | None
    sends: int
    last_answer: str | None
    error_type: str | None
    error_code: str | None
    receipt: dict[str, Any] | None


class ContentRow(Value):
    """What is kept of a request's content, without its bytes; `size_bytes` is None once it was pruned."""

    content_type: str | None
    size_bytes: int | None
    sha256: str | None
    came_at: datetime | None
    pruned_at: datetime | None


class RequestDetails(Value):
    """One request: what was asked, what became of it, its payments (oldest first), and its content."""

    record: RequestRecord
    asked_at: datetime
    attempts: tuple[AttemptRow, ...]
    content: ContentRow | None


class TrailRow(Value):
    """One row of `audit_trail_view`: a transaction, a request or a balance. `amount` is in token units.

    `status` is the payment's status, the request's outcome (or the HTTP status of an open one), or the balance's.
    """

    created_at: datetime
    agent: str
    agent_id: UUID
    kind: Literal["transaction", "request", "balance"]
    id: UUID
    request_id: str | None
    status: str | None
    amount: Decimal | None
    currency: Currency | None
    endpoint: str | None
    attempt_number: int | None
    delivery: Literal["NONE", "DELIVERED", "UNDELIVERED"] | None
    error: str | None
    hash: str | None
    verification_hash: str | None
    x402_request_id: str | None

    @property
    def cursor(self) -> str:
        """Where a list that ended with this row goes on."""
        return str(Cursor(at=self.created_at, row_id=self.id))


class SpendRow(Value):
    """What was spent in one currency on one network, base units; `key` is the day, endpoint, seller, payee or agent.

    Settled is VERIFIED: final on chain. Open is what has no outcome yet (PENDING, RETRYING, SUCCESS): spent or free
    again, nobody knows. What is FAILED cost nothing.
    """

    key: str | None
    network: Network
    currency: Currency
    settled_atomic: int
    settled: int
    open_atomic: int
    open: int
    failed: int

    @property
    def cursor(self) -> str:
        """Where a list that ended with this row goes on."""
        return str(SpendCursor(key=self.key, network=self.network, currency=self.currency))
