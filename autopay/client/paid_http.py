"""What plain HTTP means to Autopay: which 402 asks for a payment, which request an Idempotency-Key is. Pure.

The transports and the HTTP gateway have these rules in common.
"""

import hashlib
from collections.abc import Mapping

from autopay.adapters.x402.decoding import read_json
from autopay.client.errors import InvalidCall
from autopay.domain.request import is_request_id

MOST_DEMAND_BYTES = 262_144
"""Of a 402's body that is read as a demand; a longer one is a page for people."""

IDEMPOTENCY_KEY = "idempotency-key"

OWN_HEADERS_PREFIX = "autopay-"
"""Headers of a caller that begin so are for Autopay, like its key, and are not sent to the seller."""

PAYMENT_HEADERS = frozenset({"payment-signature", "x-payment"})
"""A request that has one of these carries a payment of the caller's own (x402 v2, v1)."""

_MOST_KEY_CHARS = 2_000


def is_x402_demand(http_status: int, headers: Mapping[str, str], body: bytes) -> bool:
    """Whether an answer asks for an x402 payment, well-formed or not; any other 402 is the caller's own affair.

    Args:
        http_status: of the answer.
        headers: by their names in lower case, or of a mapping that takes any case.
        body: undone from its content coding; may end after `MOST_DEMAND_BYTES` and one more.
    """
    return http_status == 402 and ("payment-required" in headers or _says_x402(body))


def carries_payment(headers: Mapping[str, str]) -> bool:
    """Whether the caller pays by itself, so that a 402 to its request is not for an agent to pay."""
    return any(name.lower() in PAYMENT_HEADERS for name in headers)


def id_of_key(key: str) -> str:
    """The id of the request that has this Idempotency-Key: the key itself where it can be an id, else made from it.

    The quotes of a structured field (draft-ietf-httpapi-idempotency-key-header) are not part of the key.

    Raises:
        InvalidCall: the key is empty, or longer than a key can be.
    """
    bare = key.strip()
    if len(bare) >= 2 and bare[0] == bare[-1] == '"':
        bare = bare[1:-1]
    if not bare or len(bare) > _MOST_KEY_CHARS:
        raise InvalidCall(f"Idempotency-Key: has {len(bare)} characters, from 1 to {_MOST_KEY_CHARS} are possible")
    if is_request_id(bare):
        return bare
    return f"key-{hashlib.sha256(bare.encode(errors='surrogatepass')).hexdigest()[:48]}"


def header_text(value: bytes) -> str:
    """A header's value as text: UTF-8 where it is, else Latin-1. A key is the same text so through every door."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _says_x402(body: bytes) -> bool:
    if len(body) > MOST_DEMAND_BYTES:
        return False
    try:
        content = read_json(body)
    except ValueError:
        return False
    return isinstance(content, dict) and "x402Version" in content
