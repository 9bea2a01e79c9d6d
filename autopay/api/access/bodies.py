"""Bodies of requests, read whole and within bounds before anything is done."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from autopay.api.access.denials import Denied, denial
from autopay.api.access.request_head import RequestHead

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

MOST_BYTES = 1_000_000
"""More than an order is: a request's body is part of one."""

STRANGERS_BYTES = 10_000
"""More than a login is: nobody else's body is read before it is known who sends it."""

WITHIN_S = 30.0


async def whole_body(head: RequestHead, receive: Receive, most_bytes: int = MOST_BYTES) -> bytes:
    """The body; empty when the caller has gone.

    Raises:
        Denied: it is too large, or takes too long.
    """
    length = head.header("content-length")
    if length is None and head.header("transfer-encoding") is None:
        return b""
    if length is not None and (not length.isdigit() or int(length[:20]) > most_bytes):
        raise _too_large(most_bytes)
    body = bytearray()
    try:
        async with asyncio.timeout(WITHIN_S):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    return b""
                body += message.get("body", b"")
                if len(body) > most_bytes:
                    raise _too_large(most_bytes)
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        raise Denied(denial(408, "body_slow", f"the body did not arrive within {WITHIN_S:.0f} s")) from None


def replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body first, and then what the connection says, such as that the caller has gone."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _too_large(most_bytes: int) -> Denied:
    return Denied(denial(413, "too_large", f"the body is larger than {most_bytes} bytes"))
