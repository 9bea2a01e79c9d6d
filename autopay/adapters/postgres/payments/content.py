"""What came from a seller, made fit to be stored: PostgreSQL takes no NUL in text and no odd numbers in JSON. Pure."""

import asyncio
import hashlib
import json
import math
from typing import Any, NamedTuple

from autopay.domain.payment.exchange import Receipt, Reply

MAX_JSON_DEPTH = 200
MAX_JSON_BYTES = 1_000_000
"""What is larger is kept as bytes only: parsed, it would take a hundred times its size of a worker's memory."""

MAX_BYTES_IN_LOOP = 20_000
"""What is larger is hashed and parsed beside the event loop, which other payments' heartbeats need."""


class Prepared(NamedTuple):
    """What is stored beside a body: its SHA-256 in hex, and its value when it is JSON."""

    sha256: str
    payload: Any | None


async def prepared(reply: Reply) -> Prepared:
    """All that takes time with the body, done before a transaction begins."""
    if len(reply.body) <= MAX_BYTES_IN_LOOP:
        return _prepared(reply)
    return await asyncio.to_thread(_prepared, reply)


def _prepared(reply: Reply) -> Prepared:
    return Prepared(hashlib.sha256(reply.body).hexdigest(), json_payload(reply.content_type, reply.body))


def storable_text(value: str) -> str:
    """The text without what PostgreSQL refuses: NUL and lone surrogates become U+FFFD."""
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode() if not _is_plain(value) else value


def storable(value: Any) -> Any:
    """The JSON value with every text made storable.

    Raises:
        ValueError: nested too deep, or a number that is not finite.
    """
    return _storable(value, MAX_JSON_DEPTH)


def json_payload(content_type: str | None, body: bytes) -> Any | None:
    """The body as JSON for `success_payload`; None when it is none that JSONB can hold. The bytes are kept beside."""
    media_type = (content_type or "").split(";")[0].strip().lower()
    if not media_type.endswith(("/json", "+json")) or len(body) > MAX_JSON_BYTES:
        return None
    try:
        return storable(json.loads(body))
    except (ValueError, RecursionError):
        return None


def receipt_json(receipt: Receipt | None) -> dict[str, Any] | None:
    """The receipt as it came, or as it was read, for `facilitator_response`."""
    if receipt is None:
        return None
    if receipt.raw:
        try:
            raw: dict[str, Any] = storable(receipt.raw)
        except ValueError:
            pass
        else:
            return raw
    read = {"success": receipt.success, "transaction": receipt.transaction, "errorReason": receipt.error_reason}
    kept: dict[str, Any] = storable({name: value for name, value in read.items() if value is not None})
    return kept


def _is_plain(value: str) -> bool:
    return value.isascii() and "\0" not in value


def _storable(value: Any, depth: int) -> Any:
    if depth < 0:
        raise ValueError("nested too deep")
    match value:
        case str():
            return storable_text(value)
        case float() if not math.isfinite(value):
            raise ValueError("not a finite number")
        case dict():
            return {storable_text(str(key)): _storable(item, depth - 1) for key, item in value.items()}
        case list() | tuple():
            return [_storable(item, depth - 1) for item in value]
        case _:
            return value
