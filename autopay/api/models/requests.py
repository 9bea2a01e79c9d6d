"""A request: in a list, and with its payments, its timeline and its content."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from autopay.api.models.base import Model, Money
from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.request import RequestStatus


class RequestItem(Model):
    """A request in the list."""

    id: Annotated[str | None, Field(examples=["monday-1"])]
    """The caller's id: the same id of the same agent never pays twice."""
    agent: Annotated[str, Field(examples=["trader"])]
    key: Annotated[str, Field(examples=["ap_4f0c6f0e7c1a9d3f2b1a0c4d5e6f7a8b9c0d1e2f3a4b5c6d"])]
    """Names the request in the whole ledger; a seller sees it as the payment's identifier."""
    at: datetime
    """When it was asked for."""
    method: str
    url: Annotated[str | None, Field(examples=["https://api.example.com/market-feed"])]
    endpoint: str
    seller: Annotated[str | None, Field(examples=["api.example.com"])]
    status: RequestStatus
    """What became of it, or how it stands."""
    price: Money | None
    """None as long as nothing is signed."""
    pay_to: str | None
    transaction: str | None
    """The settlement's signature on chain."""
    explorer: str | None
    """Where a Solana explorer shows it; None on the embedded chain."""
    http_status: int | None
    """The seller's last answer."""
    error: str | None
    """The stable name of what ended it without content."""
    message: str | None
    """The same in words."""
    watch: str | None
    """The watch that made it."""
    content_type: str | None
    answered_at: datetime | None
    """When its content came."""
    ended_at: datetime | None


class Attempt(Model):
    """One payment of a request."""

    number: int
    at: datetime
    """When it was signed."""
    status: str
    price: Money
    network: Network
    pay_to: str | None
    transaction: str | None
    explorer: str | None
    sends: int
    last_answer: str | None
    error_type: str | None
    error_code: str | None
    receipt: dict[str, Any] | None
    """What the seller or its facilitator said of the settlement; the chain has the last word."""


class TimelineEvent(Model):
    """One change of the request, of a payment of it, or of a question to a person about it."""

    cursor: str
    at: datetime
    kind: Annotated[str, Field(examples=["transactions.changed"])]
    text: Annotated[str, Field(examples=["submitted, 0.001 USDC → RETRYING"])]
    values: dict[str, Any]


class Content(Model):
    """What was bought, without its bytes; `text` is its beginning, when it is text."""

    content_type: str | None
    size: int | None
    """Bytes; None once it was thrown away."""
    sha256: str | None
    came_at: datetime | None
    complete: bool
    encoding: str | None
    """Codings that could not be undone."""
    pruned: str | None
    """Why it is gone, when it was thrown away."""
    bought_by: str | None
    """The earlier request that bought it, of status fresh."""
    text: str | None
    is_cut: bool
    """Whether there is more of the text than is shown here."""
    href: str
    """Where all of it is, byte for byte."""


class Request(RequestItem):
    """A request with all that is known of it."""

    max_price: str | None
    """The most that it may cost, in token units; None: no limit of its own."""
    currency: Currency | None
    """The only currency that it may be paid in; None: any."""
    payments: tuple[Attempt, ...]
    timeline: tuple[TimelineEvent, ...]
    content: Content | None
    content_location: str | None
    """Where the seller says that the content is."""
    advice: str
    """What to do about it, with the command."""
    workflow_id: str
    workflow: str | None
    """Its page in Temporal's web UI, where that is known."""


class Dispute(Model):
    """A request that was paid and not delivered."""

    id: str | None
    agent: str
    url: str | None
    method: str
    price: Money
    pay_to: str | None
    transaction: str | None
    explorer: str | None
    ended_at: datetime | None
    """None while its payment still asks the seller."""
    http_status: int | None
    """The seller's last answer to the payment."""
    sends: int
    sent_at: datetime | None
    refused: bool
    """Whether the seller refuses for good since it has the money."""
    location: str | None
    """Where the seller says that the content is."""


class Approval(Model):
    """A question to a person about exact terms."""

    id: UUID
    agent: str
    request_id: str
    request_key: str
    status: Annotated[str, Field(examples=["PENDING"])]
    """PENDING, APPROVED, DENIED, CONSUMED (the payment was signed), EXPIRED or WITHDRAWN (by a change of phase)."""
    why: Annotated[str, Field(examples=["0.005 USDC is asked; up to 0.003 USD needs no approval"])]
    method: str
    url: str
    price: Money
    pay_to: str
    network: Network
    terms_hash: str
    """SHA-256 over the terms: an approval is good for exactly these."""
    asked_at: datetime
    expires_at: datetime
    decided_at: datetime | None
