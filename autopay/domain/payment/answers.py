"""What a seller's answer to a paid request means. Pure; says nothing about the money, which only the chain knows."""

from autopay.domain.payment.exchange import Receipt, Reply
from autopay.domain.payment.payment import Conflict, Content, Rejected, SellerAnswer

_WORTH_ANOTHER_TRY = frozenset({402, 408, 425, 429})
"""Payment required, time-out, too early, too many requests (RFC 9110, 8470, 6585): about the moment, not for good."""


def classify(reply: Reply, receipt: Receipt | None) -> SellerAnswer:
    """One complete answer, by its status and its receipt.

    | status | receipt | means |
    |---|---|---|
    | 2xx | any | the content is here; whether it was paid, the chain tells |
    | 4xx but 402, 408, 425, 429 | any | the seller refuses for good: sign no more |
    | other | any | no content; `reason` is the receipt's error or `http_{status}` |
    """
    if 200 <= reply.http_status < 300:
        return Content(http_status=reply.http_status)
    if 400 <= reply.http_status < 500 and reply.http_status not in _WORTH_ANOTHER_TRY:
        return Conflict(http_status=reply.http_status)
    reason = receipt.error_reason if receipt and receipt.error_reason else f"http_{reply.http_status}"
    return Rejected(http_status=reply.http_status, reason=reason[:200], retry_after_ms=reply.retry_after_ms)
