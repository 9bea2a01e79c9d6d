"""What goes to a seller and what comes back: headers and body, replies, receipts, and what a reply means."""

import base64
from typing import Any

from pydantic import model_serializer, model_validator

from autopay.domain.payment.offer import Challenge
from autopay.domain.payment.payment import Conflict, Content, Rejected, SellerAnswer
from autopay.domain.refusal import Refused
from autopay.domain.values import Value

MAX_CLAIM_CHARS = 128
"""A signature has at most 88 characters of base58; what is longer is none."""


class RequestExtras(Value):
    """Headers and body of a request: what may hold secrets, opened just before it is sent.

    In JSON the body is a text, or `body_base64` when its bytes are not UTF-8.
    """

    headers: dict[str, str] = {}
    body: bytes | None = None

    @model_validator(mode="before")
    @classmethod
    def _with_bytes(cls, given: Any) -> Any:
        if not isinstance(given, dict) or given.get("body_base64") is None:
            return given
        return {"headers": given.get("headers", {}), "body": base64.b64decode(given["body_base64"], validate=True)}

    @model_serializer(mode="plain", when_used="json")
    def _as_json(self) -> dict[str, Any]:
        if self.body is None or _is_utf8(self.body):
            return {"headers": self.headers, "body": self.body}
        return {"headers": self.headers, "body": None, "body_base64": base64.b64encode(self.body).decode()}


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


class Receipt(Value):
    """A seller's settlement receipt (PAYMENT-RESPONSE): a claim that the chain confirms or not.

    `raw` is what it said in full, as far as it is kept.
    """

    success: bool
    transaction: str | None = None
    error_reason: str | None = None
    raw: dict[str, object] = {}


class Reply(Value):
    """What a seller sent back, bounded in size.

    `complete` is False when the end of the body is missing: it was longer than the bound, cut, or never ended.
    `encoding` names the content codings that could not be undone, so that `body` is as it came. `location` is where a
    paid answer redirected to, when nothing was fetched from there.
    """

    http_status: int
    content_type: str | None = None
    body: bytes = b""
    complete: bool = True
    encoding: str | None = None
    location: str | None = None
    receipt: Receipt | None = None
    retry_after_ms: int | None = None


class StoredContent(Value):
    """What was delivered, as the ledger has it; `complete` and `encoding` as in `Reply`."""

    content_type: str
    body: bytes
    complete: bool = True
    encoding: str | None = None


class UnpaidReply(Value):
    """The seller's answer to a request without a payment; `breaker` is how the agent's stood when it was asked."""

    reply: Reply
    challenge: Challenge | Refused | None = None
    breaker: str | None = None


_WORTH_ANOTHER_TRY = frozenset({402, 408, 425, 429})
"""Payment required, time-out, too early, too many requests (RFC 9110, 8470, 6585): about the moment, not for good."""


def classify(reply: Reply) -> SellerAnswer:
    """What a complete reply to a paid request means, by its status and its receipt.

    It says nothing about the money, which only the chain knows.

    | status | receipt | means |
    |---|---|---|
    | 2xx | any | the content is here; whether it was paid, the chain tells |
    | 4xx but 402, 408, 425, 429 | any | the seller refuses for good: sign no more |
    | other | any | no content; `reason` is the receipt's error or `http_{status}` |
    """
    if 200 <= reply.http_status < 300:
        return Content(http_status=reply.http_status, complete=reply.complete, encoding=reply.encoding)
    if 400 <= reply.http_status < 500 and reply.http_status not in _WORTH_ANOTHER_TRY:
        return Conflict(http_status=reply.http_status)
    said = reply.receipt.error_reason if reply.receipt is not None else None
    reason = said or f"http_{reply.http_status}"
    return Rejected(
        http_status=reply.http_status,
        reason=reason[:200],
        retry_after_ms=reply.retry_after_ms,
        location=reply.location,
    )


def claims_settlement(receipt: Receipt | None) -> bool:
    """Whether the seller says that the payment has settled, and as which transaction."""
    return receipt is not None and receipt.success and bool(receipt.transaction)


def with_claim(claims: tuple[str, ...], receipt: Receipt | None) -> tuple[str, ...]:
    """The claims with the receipt's transaction at the end, when it names one that is new."""
    named = receipt.transaction if receipt is not None else None
    if not named or named in claims or len(named) > MAX_CLAIM_CHARS or not (named.isascii() and named.isalnum()):
        return claims
    return (*claims, named)
