"""What callers send to act, and what they are answered."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from autopay.api.models.base import Model, Money
from autopay.domain.request import AGENT_NAME_PATTERN, REQUEST_ID_PATTERN, RequestStatus

LONGEST_WAIT_S = 300.0
Wait = Annotated[float, Field(ge=0, le=LONGEST_WAIT_S, examples=[10])]


class Body(BaseModel):
    """What is sent; a field that is not known is an error, as it would be a typing mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class PauseBody(Body):
    """Why the agent is paused."""

    reason: Annotated[str | None, Field(max_length=500, examples=["maintenance"])] = None
    """Shown in its status and in the Temporal UI."""


class BuyBody(Body):
    """What an agent is to buy, and within which limits."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "agent": "trader",
                    "url": "https://api.example.com/market-feed",
                    "id": "monday-1",
                    "max_price": "0.01",
                    "wait": 10,
                }
            ]
        }
    )

    agent: Annotated[str, Field(pattern=AGENT_NAME_PATTERN, examples=["trader"])]
    """Who pays."""
    url: Annotated[str, Field(min_length=8, max_length=2048, examples=["https://api.example.com/market-feed"])]
    """What to ask. It is recorded in clear: secrets belong into headers or content, which are sealed."""
    id: Annotated[str | None, Field(pattern=REQUEST_ID_PATTERN, examples=["monday-1"])] = None
    """The idempotency key: the same id of the same agent never pays twice. Or the header `Idempotency-Key`."""
    method: Annotated[str | None, Field(max_length=10, examples=["GET"])] = None
    """GET, or POST with content."""
    headers: Annotated[dict[str, str] | None, Field(max_length=100)] = None
    """Sent to the seller."""
    content: Annotated[str | None, Field(max_length=250_000)] = None
    """The body, as text."""
    json_content: Annotated[Any, Field(alias="json")] = None
    """The body, as JSON."""
    max_price: Annotated[str | None, Field(max_length=40, examples=["0.01"])] = None
    """Pay at most this, in token units."""
    currency: Annotated[str | None, Field(max_length=10, examples=["USDC"])] = None
    """Pay in this one only: USDC or CASH."""
    max_age: Annotated[str | None, Field(max_length=20, examples=["5m"])] = None
    """Accept what the agent bought up to this long ago; 0 always buys."""
    wait: Wait = 10
    """Seconds to wait for its end; then the answer is 202, and says where to look."""


class DecisionBody(Body):
    """What the person has seen."""

    terms_hash: Annotated[str | None, Field(pattern="^[0-9a-f]{64}$")] = None
    """Of the terms that were shown: with other terms nothing is decided."""


class RetryBody(Body):
    """How long to wait."""

    wait: Wait = 30
    """Seconds to wait for the seller's answer; then the answer is 202, and asking again finds it."""


class Ordered(Model):
    """What was ordered, and recorded in the audit chain."""

    order: UUID
    """The id of the record: who ordered what, and what became of it."""
    action: Annotated[str, Field(examples=["pause"])]
    agent: Annotated[str, Field(examples=["trader"])]
    target: str | None = None


class Decided(Model):
    """A person's decision on a payment."""

    approval: UUID
    decision: Annotated[str, Field(examples=["approved"])]
    is_new: bool
    """False when it had been decided so before."""


class Revoked(Model):
    """A session that pays nothing any more."""

    session: UUID
    is_new: bool
    """False when it had ended before."""
    advice: str
    """How its owner gets back what is left in its account."""


class Bought(Model):
    """A request, and what it bought; the content itself is at `content`."""

    id: Annotated[str, Field(examples=["monday-1"])]
    agent: Annotated[str, Field(examples=["trader"])]
    status: RequestStatus
    price: Money | None
    pay_to: str | None
    transaction: str | None
    """The settlement's signature on chain."""
    http_status: int | None
    content_type: str | None
    content_complete: bool | None
    size: int | None
    """Bytes of its content."""
    content: str | None
    """Where the content is."""
    content_of: str | None
    """The earlier request whose content this is (status fresh)."""
    content_at: datetime | None
    request: str
    """Where all that is known of it is."""
    message: str | None
    """Why there is no content."""
