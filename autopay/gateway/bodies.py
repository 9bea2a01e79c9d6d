"""Bodies of callers and sellers, read within bounds; what is longer goes on as a stream."""

from collections.abc import AsyncIterator

from starlette.requests import Request

from autopay.client.errors import InvalidCall

MOST_ORDER_BYTES = 1_000_000
"""Of a JSON call: more than a request can carry, sealed and in base64."""


async def whole(request: Request) -> bytes:
    """The body of a JSON call.

    Raises:
        InvalidCall: it is too large.
    """
    beginning, rest = await split(request.stream(), MOST_ORDER_BYTES)
    if rest is not None:
        raise InvalidCall(f"the body is larger than {MOST_ORDER_BYTES} bytes", "too_large")
    return beginning


async def split(chunks: AsyncIterator[bytes], most_bytes: int) -> tuple[bytes, AsyncIterator[bytes] | None]:
    """All of a body and None, when it is no longer than that; else its beginning, and what comes after it."""
    beginning = bytearray()
    async for chunk in chunks:
        beginning += chunk
        if len(beginning) > most_bytes:
            return bytes(beginning), chunks
    return bytes(beginning), None


async def joined(beginning: bytes, rest: AsyncIterator[bytes] | None) -> AsyncIterator[bytes]:
    """The whole body again, as a stream."""
    yield beginning
    if rest is not None:
        async for chunk in rest:
            yield chunk
