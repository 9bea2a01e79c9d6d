"""`Notice`: what a payment tells its agent."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from autopay.domain.money import MAX_ATOMIC, Currency
from autopay.domain.request import REQUEST_ID_PATTERN, RequestStatus
from autopay.domain.values import StrictValue, Value

MAX_TEXT_LENGTH = 500
"""Characters of any text in a notice; more is cut off, as an agent keeps notices in its state."""


def _cut(text: object) -> object:
    return text[:MAX_TEXT_LENGTH] if isinstance(text, str) else text


Text = Annotated[str, BeforeValidator(_cut)]

Held = Literal["approval", "chain", "content"]
"""What a request that has begun can wait for without a slot: a person's decision or an answer of the chain, before
anything is signed; the content, after it was paid for."""


WAITS_FOR: dict[Held, str] = {
    "approval": "a person's approval",
    "chain": "the chain",
    "content": "the content that it paid for",
}
"""`Held` in words for people."""


class Notice(StrictValue):
    """A `PaidRequest` was answered (`final` false), or its payment is final on chain or proven not settled.

    Status WAITING: the request is `held`, or (`held` None) no longer. `error` is the stable
    name of what ended it without content, or of the fault that holds it. `http_status` is the seller's last answer, if
    it gave one.
    """

    request_id: str = Field(pattern=REQUEST_ID_PATTERN)
    status: RequestStatus
    final: bool
    held: Held | None = None
    error: Text | None = None
    http_status: int | None = None
    currency: Currency | None = None
    amount_atomic: int = Field(0, ge=0, le=MAX_ATOMIC)
    transaction: Text | None = None
    message: Text | None = None


class Announcement(Value):
    """A notice, and the agent that it is for."""

    agent: str
    notice: Notice
