"""What goes to a seller and what comes back: headers and body, answers, receipts."""

from autopay.domain.payment.offer import Challenge
from autopay.domain.refusal import Refused
from autopay.domain.values import Value


class RequestExtras(Value):
    """Headers and body of a request: what may hold secrets, opened just before it is sent."""

    headers: dict[str, str] = {}
    body: bytes | None = None


class Receipt(Value):
    """A seller's settlement receipt (PAYMENT-RESPONSE): a claim that the chain confirms or not."""

    success: bool
    transaction: str | None = None
    error_reason: str | None = None


class Reply(Value):
    """What a seller sent back, already bounded in size."""

    http_status: int
    content_type: str | None = None
    body: bytes = b""
    claim: Receipt | None = None
    receipt: dict[str, object] | None = None
    retry_after_ms: int | None = None


class UnpaidReply(Value):
    """The seller's answer to a request without a payment; `breaker` is how the agent's stood when it was asked."""

    reply: Reply
    challenge: Challenge | Refused | None = None
    breaker: str | None = None
