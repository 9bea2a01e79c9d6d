"""Policies, approvals and payees as the ledger has them."""

from datetime import datetime
from enum import StrEnum
from typing import Literal
from uuid import UUID

from autopay.domain.network import Network
from autopay.domain.policy.policy import Policy, Terms
from autopay.domain.values import Value


class ApprovalRecord(Value):
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

    @property
    def is_withdrawn(self) -> bool:
        """Whether it was taken back, by a change of phase: nobody decided, and its time had not run out."""
        return self.status == "EXPIRED" and self.decided_at is not None


class PayeeRecord(Value):
    """A payee that an origin is known by; `accepted_by` is the first payment, an approval, or a person."""

    network: Network
    origin: str
    pay_to: str
    accepted_by: str
    accepted_at: datetime


class PolicyInForce(Value):
    """The policy that holds for an agent: its `own` or everyone's, or the built-in one (`set_at` None).

    `by_host_today_atomic` is what `spent_today_atomic` is made of, by host and port.
    """

    agent: str
    policy: Policy
    own: bool
    set_at: datetime | None
    spent_today_atomic: int
    by_host_today_atomic: dict[str, int] = {}

    @property
    def left_today_atomic(self) -> int | None:
        """What the limit a day leaves the agent until midnight UTC; None without such a limit."""
        limit = self.policy.per_agent_day_atomic
        return None if limit is None else max(0, limit - self.spent_today_atomic)


class ApprovalStatus(StrEnum):
    """`approvals.status`; PENDING and APPROVED end as EXPIRED when their time runs out."""

    PENDING = "PENDING"
    APPROVED = "APPROVED"
    DENIED = "DENIED"
    CONSUMED = "CONSUMED"
    EXPIRED = "EXPIRED"
