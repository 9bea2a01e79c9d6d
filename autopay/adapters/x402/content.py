"""The body of a seller's answer: received within a bound, decoded within the same bound, and never dropped.

What was paid for is kept however it comes. A body that is longer than the bound, is cut or never ends is kept as far as
it came, and marked incomplete. One whose content coding (RFC 9110, section 8.4) is unknown, or does not fit its bytes,
is kept as the bytes that came, with the coding's name.
"""

import asyncio
import zlib
from typing import NamedTuple

import httpx

MOST_CODINGS = 3
"""Codings on top of each other that are undone; each is bounded, so that this bounds the work."""

STREAM_END = b"data: [DONE]"
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


class Received:
    """What has come of an answer so far; still there when a deadline or a lost connection ends the exchange."""

    def __init__(self, limit_bytes: int) -> None:
        self.response: httpx.Response | None = None
        self.error: Exception | None = None
        self._limit = limit_bytes
        self._raw = bytearray()
        self._whole = False

    async def read(self, response: httpx.Response) -> None:
        """Read the body to its end, or to the bound."""
        self.response = response
        is_stream = response.headers.get("content-type", "").lower().startswith("text/event-stream")
        async for chunk in response.aiter_raw():
            self._raw += chunk
            if len(self._raw) > self._limit:
                return
            if is_stream and self._raw.rstrip().endswith(STREAM_END):
                break
        self._whole = True

    @property
    def has_content(self) -> bool:
        """A success with at least one byte of its body."""
        return self.response is not None and self.response.is_success and bool(self._raw)

    @property
    def is_out_of_time(self) -> bool:
        """The deadline ended it: asking again would end the same way."""
        return isinstance(self.error, TimeoutError | httpx.TimeoutException)

    async def body(self) -> Body:
        """The body, decoded; beside the event loop where that is work."""
        assert self.response is not None
        raw = bytes(self._raw[: self._limit])
        named = (each.strip().lower() for each in self.response.headers.get("content-encoding", "").split(","))
        codings = tuple(each for each in named if each not in ("", "identity"))
        if not codings:
            return Body(raw, self._whole)
        return await asyncio.to_thread(decode, raw, codings, self._limit, whole=self._whole)


def decode(raw: bytes, codings: tuple[str, ...], limit_bytes: int, *, whole: bool) -> Body:
    """Undo the codings, the last one first, each within the bound; what cannot be undone is kept as it came.

    Args:
        raw: the bytes that came.
        codings: of the header Content-Encoding, in the order in which they were applied.
        limit_bytes: of what each coding may give.
        whole: whether all bytes of the body came.
    """
    content, complete = raw, whole
    if len(codings) > MOST_CODINGS:
        return Body(raw, whole, _named(codings))
    for left in range(len(codings) if raw else 0, 0, -1):
        decoded = _undo(content, codings[left - 1], limit_bytes)
        if decoded is None:
            return Body(content, complete, _named(codings[:left]))
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
        if decoded or decoder.eof:
            return decoded[:limit_bytes], decoder.eof and len(decoded) <= limit_bytes
    return None


def _named(codings: tuple[str, ...]) -> str:
    return ", ".join(codings)[:100]
