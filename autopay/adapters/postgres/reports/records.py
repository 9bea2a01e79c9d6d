"""What the readers give: a payment, a row of the audit trail, a sum."""

from datetime import datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from autopay.adapters.postgres.records import TimelineRow
from autopay.adapters.postgres.reports.filter import Place
from autopay.domain.money import Currency
from autopay.domain.network import Network


class PaymentRow(TimelineRow):
    """A payment in a list."""

    @property
    def cursor(self) -> str:
        """Where a list that ended with this row goes on."""
        return str(Place(at=self.created_at, row_id=self.attempt_id))


class TrailRow(BaseModel):
    """One row of `audit_trail_view`: a transaction, a request or a balance. `amount` is in token units.

    `status` is the payment's status, the request's outcome (or the HTTP status of an open one), or the balance's.
    """

    model_config = ConfigDict(frozen=True)

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
        return str(Place(at=self.created_at, row_id=self.id))


class SpendRow(BaseModel):
    """What was spent in one currency on one network, base units; `key` is the day, endpoint, payee or agent.

    Settled is VERIFIED: final on chain. Open is what has no outcome yet (PENDING, RETRYING, SUCCESS): spent or free
    again, nobody knows. What is FAILED cost nothing.
    """

    model_config = ConfigDict(frozen=True)

    key: str | None
    network: Network
    currency: Currency
    settled_atomic: int
    settled: int
    open_atomic: int
    open: int
    failed: int
