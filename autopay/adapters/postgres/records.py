"""What the ledger tells people and reports, beyond the port's own values."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.payment.ports import AgentRecord
from autopay.domain.policy.policy import Policy, Terms


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)


class PurseRecord(_Record):
    """What an agent's sessions leave it in a currency, by the ledger: no chain is asked.

    `problem` is why nothing can be spent at all. `pauses` says that the agent's last reading, at `read_at`, did not
    reach `needed_atomic` in any of its currencies; both are None before the first.
    """

    currency: Currency
    spendable_atomic: int
    needed_atomic: int | None
    problem: str | None
    pauses: bool
    read_at: datetime | None


class AgentSummary(_Record):
    """An agent with what it spent (SUCCESS and VERIFIED, base units) and how many payments that were.

    `spent_today_atomic` is since midnight UTC; `queued` wait for their turn, `asked` for a person.
    """

    agent: AgentRecord
    spent_atomic: dict[Currency, int]
    spent_today_atomic: dict[Currency, int]
    payments: int
    open_payments: int
    queued: int
    asked: int
    purses: tuple[PurseRecord, ...]


class OwnerTransaction(_Record):
    """What the owner of a session's account is asked to sign: the message in base64, and how long it can land."""

    does: Literal["grant", "revoke"]
    message: str
    last_valid_block_height: int


class SessionRecord(_Record):
    """A session without its key; `reserved_atomic` and `payments` count every attempt that is not FAILED.

    `spent_atomic` is what of it settled, `open_payments` how many have no outcome yet. `granted` is False until the
    chain shows the owner's grant: `owner_transaction` is what it was asked to sign.
    """

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
    spent_atomic: int = 0
    open_payments: int = 0
    hosts: tuple[str, ...] = ()
    granted: bool = True
    owner_transaction: OwnerTransaction | None = None


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


class ApprovalRecord(_Record):
    """A question to a person about exact terms, and where it stands."""

    approval_id: UUID
    agent: str
    request_key: str
    terms: Terms
    terms_hash: str
    why: str
    status: Literal["PENDING", "APPROVED", "DENIED", "CONSUMED", "EXPIRED"]
    created_at: datetime
    expires_at: datetime
    decided_at: datetime | None


class PayeeRecord(_Record):
    """A payee that an origin is known by; `accepted_by` is the first payment, an approval, or a person."""

    network: Network
    origin: str
    pay_to: str
    accepted_by: str
    accepted_at: datetime


class PolicyInForce(_Record):
    """The policy that holds for an agent: its `own` or everyone's, or the built-in one (`set_at` None).

    `by_host_today_atomic` is what `spent_today_atomic` is made of, by host and port.
    """

    agent: str
    policy: Policy
    own: bool
    set_at: datetime | None
    spent_today_atomic: int
    by_host_today_atomic: dict[str, int] = {}


class FenceRecord(_Record):
    """A fence that is up: why, since when, and the last height at which an older payment could land, once read."""

    reason: str
    raised_at: datetime
    height: int | None
