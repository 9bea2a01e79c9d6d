"""What the ledger tells people and reports, beyond the port's own values."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.ports import AgentRecord


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)


class AgentSummary(_Record):
    """An agent with what it spent (SUCCESS and VERIFIED, base units) and how many payments that were."""

    agent: AgentRecord
    spent_atomic: dict[Currency, int]
    payments: int
    open_payments: int


class SessionRecord(_Record):
    """A session without its key; `reserved_atomic` and `payments` count every attempt that is not FAILED."""

    session_id: UUID
    agent: str
    status: Literal["ACTIVE", "EXPIRED", "REVOKED"]
    currency: Currency
    mint: str
    source_account: str
    owner: str
    authority: str
    allowance_atomic: int
    reserved_atomic: int
    payments: int
    tx_limit: int
    created_at: datetime
    expires_at: datetime


class BalanceRecord(_Record):
    """The newest balance reading of an agent in one currency, base units."""

    currency: Currency
    balance_atomic: int
    threshold_atomic: int
    status: Literal["SUFFICIENT", "LOW", "PAUSED"]
    snapshot_at: datetime


class TimelineRow(_Record):
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


class DisputeRow(_Record):
    """A request that was paid and not delivered. `http_status` is the seller's last answer to the payment, if any."""

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
