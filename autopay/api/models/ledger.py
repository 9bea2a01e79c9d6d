"""The audit trail, and the state of the ledger's proof."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from autopay.api.models.base import Model, Money


class TrailItem(Model):
    """A row of the audit trail: a transaction, a request, or a reading of a balance."""

    at: datetime
    agent: str
    kind: Literal["transaction", "request", "balance"]
    id: UUID
    request_id: str | None
    status: Annotated[str | None, Field(examples=["VERIFIED"])]
    """The payment's status, the request's outcome (the HTTP status of an open one), or the balance's."""
    amount: Money | None
    endpoint: str | None
    attempt_number: int | None
    delivery: Literal["NONE", "DELIVERED", "UNDELIVERED"] | None
    error: str | None
    transaction: str | None
    verification_hash: str | None
    request_key: str | None


class Fence(Model):
    """Why nothing is signed: the ledger was restored, and may have forgotten payments."""

    reason: str
    raised_at: datetime
    advice: str


class Anchor(Model):
    """The newest memo on chain that commits to all audit chains of a moment."""

    at: datetime
    transaction: str
    explorer: str | None
    slot: int | None
    root: str
    """SHA-256 over the heads of all chains."""


class LedgerState(Model):
    """The ledger's proof, and whether it lets payments be signed."""

    fence: Fence | None
    chains: int
    """Audit chains: one for each agent, and one for what belongs to none."""
    events: int
    """Chained events in all of them."""
    anchor: Anchor | None
    newest: str
    """The cursor of the newest event: /api/events?after= goes on behind it."""


class LedgerEvent(Model):
    """A change of the ledger, as the stream tells it."""

    cursor: str
    at: datetime
    agent: str | None
    kind: Annotated[str, Field(examples=["transactions.changed"])]
    text: Annotated[str, Field(examples=["submitted, 0.001 USDC → RETRYING"])]
    request_id: str | None
    amount: Money | None
    values: dict[str, object]
