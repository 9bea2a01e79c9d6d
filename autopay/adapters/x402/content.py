"""The body of a seller's answer: read within a bound, decoded within the same bound, and never dropped.

What was paid for is kept however it comes. A body that is longer than the bound, ends early or never ends is kept as
far as it came and marked incomplete. One whose content coding (RFC 9110, section 8.4) is unknown, or does not fit its
bytes, is kept as the bytes that came, with the coding's name.
"""

import asyncio
import zlib
from typing import NamedTuple

import httpx

MOST_CODINGS = 3
"""Codings on top of each other that are undone; each is bounded, so that this bounds the work."""

END_OF_STREAM = b"data: [DONE]"
"""The last event of a stream of chat completions: what follows is an open connection, and no content."""

_WINDOWS = {
    "gzip": (16 + zlib.MAX_WBITS,),
    "x-gzip": (16 + zlib.MAX_WBITS,),
    "deflate": (zlib.MAX_WBITS, -zlib.MAX_WBITS),
}
"""zlib's `wbits` of each coding. `deflate` is zlib's format, and in the wild the bare one, too."""


class Body(NamedTuple):
    """A body as it is kept. `encoding` is what could not be undone; `complete` is False when the end is missing."""

    content: bytes
    complete: bool
    encoding: str | None = None


async def read_body(response: httpx.Response, limit_bytes: int) -> Body:
    """What comes within the bound and before the caller's deadline.

    A deadline or a lost connection in the middle ends the body, not the exchange: see `Interrupted`.

    Raises:
        Interrupted: what had come by then, decoded.
    """
    raw, whole = bytearray(), False
    try:
        async for chunk in response.aiter_raw():
            raw += chunk
            if len(raw) > limit_bytes:
                break
            if _is_event_stream(response) and raw.rstrip().endswith(END_OF_STREAM):
                whole = True
                break
        else:
            whole = True
    except (httpx.HTTPError, httpx.StreamError, TimeoutError, asyncio.CancelledError) as error:
        raise Interrupted(decode(bytes(raw), _codings(response), limit_bytes, whole=False), error) from error
    body = bytes(raw[:limit_bytes])
    return await asyncio.to_thread(decode, body, _codings(response), limit_bytes, whole=whole)


class Interrupted(Exception):
    """A body ended before its end; `body` is what had come, `error` what ended it."""

    def __init__(self, body: Body, error: BaseException) -> None:
        super().__init__(type(error).__name__)
        self.body = body
        self.error = error


def decode(raw: bytes, codings: tuple[str, ...], limit_bytes: int, *, whole: bool) -> Body:
    """Undo the codings, the last one first, each within the bound; what cannot be undone is kept as it came.

    Args:
        codings: of the header Content-Encoding, in the order in which they were applied.
        whole: whether all bytes of the body came.
    """
    content, complete = raw, whole
    if len(codings) > MOST_CODINGS:
        return Body(raw, whole, ", ".join(codings)[:100])
    for done in range(len(codings) if raw else 0):
        coding = codings[len(codings) - 1 - done]
        decoded = _undo(content, coding, limit_bytes)
        if decoded is None:
            left = codings[: len(codings) - done]
            return Body(content, complete, ", ".join(left)[:100])
        content, ended = decoded
        complete = complete and ended
    return Body(content, complete)


def _undo(content: bytes, coding: str, limit_bytes: int) -> tuple[bytes, bool] | None:
    """The decoded bytes and whether their end came; None when the coding is unknown, or does not fit the bytes."""
    for wbits in _WINDOWS.get(coding, ()):
        decoder = zlib.decompressobj(wbits)
        try:
            decoded = decoder.decompress(content, limit_bytes + 1)
        except zlib.error:
            continue
        if not decoded and content and not decoder.eof:
            continue
        return decoded[:limit_bytes], decoder.eof and len(decoded) <= limit_bytes
    return None


def _codings(response: httpx.Response) -> tuple[str, ...]:
    named = (each.strip().lower() for each in response.headers.get("content-encoding", "").split(","))
    return tuple(each for each in named if each not in ("", "identity"))


def _is_event_stream(response: httpx.Response) -> bool:
    return bool(response.headers.get("content-type", "").lower().startswith("text/event-stream"))
