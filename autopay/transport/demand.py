"""Which of a request's headers its paid repetition has, and why a demand is not paid. Pure."""

from collections.abc import Iterable, Mapping

from autopay.client.paid_http import OWN_HEADERS_PREFIX, PAYMENT_HEADERS, carries_payment
from autopay.domain.values import Value

MAX_BODY_BYTES = 300_000
"""Of a request's body that is kept for its paid repetition: what `RequestSpec` can carry is less."""

_NOT_SENT = frozenset(
    (
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection"),
        *("te", "trailer", "transfer-encoding", "upgrade"),  # of one connection (RFC 9110, section 7.6.1)
        *("host", "content-length", "accept-encoding", "expect"),  # the worker's own
        *PAYMENT_HEADERS,
    )
)


class NotPaid(Value):
    """Why a demand was passed on as it came, and nothing was paid: `type` for programs, `message` for people."""

    type: str
    message: str


def headers_to_seller(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The headers that the paid request has: all but those of a connection, the payment's and Autopay's own.

    A name that stands several times becomes one header, its values joined (RFC 9110, section 5.3).
    """
    pairs = [(name.lower(), value) for name, value in headers]
    listed = (value for name, value in pairs if name == "connection")
    hop_by_hop = {name.strip().lower() for value in listed for name in value.split(",")}
    kept: dict[str, str] = {}
    for name, value in pairs:
        if name in _NOT_SENT or name in hop_by_hop or name.startswith(OWN_HEADERS_PREFIX):
            continue
        separator = "; " if name == "cookie" else ", "
        kept[name] = f"{kept[name]}{separator}{value}" if name in kept else value
    return kept


def not_payable(method: str, headers: Mapping[str, str], body: bytes | None, *, body_kept: bool) -> NotPaid | None:
    """Why no agent can pay for this request, if none can."""
    if method not in ("GET", "POST"):
        message = f"the seller asks for a payment for {method}; only GET and POST can be paid for, so nothing was paid"
        return NotPaid(type="method_not_payable", message=message)
    if carries_payment(headers):
        message = "the request carries a payment of its own, which the seller did not take: nothing more was paid"
        return NotPaid(type="already_paying", message=message)
    if not body_kept:
        message = f"the request's body is larger than what can be paid for, {MAX_BODY_BYTES} bytes: nothing was paid"
        return NotPaid(type="too_large", message=message)
    if method == "GET" and body:
        return NotPaid(type="body_not_payable", message="a GET with a body cannot be paid for: nothing was paid")
    return None
