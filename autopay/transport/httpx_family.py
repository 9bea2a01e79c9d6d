"""A transport for httpx and httpx2, which have the same classes: each library's module is given.

Whatever is of the library is `Any` here; `autopay/httpx.py` and `autopay/httpx2.py` have its types.
"""

from __future__ import annotations

import math
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from autopay.client.asking import checked_agent
from autopay.client.errors import AutopayError
from autopay.client.paid_http import MOST_DEMAND_BYTES, OWN_HEADERS_PREFIX, is_x402_demand
from autopay.transport.answers import Answer
from autopay.transport.bodies import Beginning, KeptBody
from autopay.transport.connection import ClientArguments
from autopay.transport.demand import NotPaid
from autopay.transport.errors import Ending, ending_of
from autopay.transport.flow import Asked, Buy, Discard, ReadBeginning, Recall, Send, Step, run, run_async, steps
from autopay.transport.options import Limits
from autopay.transport.payer import Payers

NAME = "autopay"
"""Of our entry in the extensions of requests and responses."""

PIECE_BYTES = 1_024
"""Of a compressed body that are given to a decoder at a time: a few compressed bytes can be very many."""


class HttpxLibrary:
    """Implements `Library` for the module `httpx` or `httpx2`.

    Args:
        module: that module.
        errors: its class for each ending.
    """

    def __init__(self, module: Any, errors: Mapping[Ending, type[Exception]]) -> None:
        self._module = module
        self._errors = errors
        self._kept_stream = _kept_stream(module)
        self._replayed = _replayed(module)

    def asked(self, request: Any) -> Asked:
        """See the port."""
        timeout = request.extensions.get("timeout")
        read = timeout.get("read", math.inf) if isinstance(timeout, Mapping) else None
        return Asked(
            method=request.method,
            url=str(request.url.copy_with(username=None, password=None, fragment=None)),
            headers=request.headers.multi_items(),
            given=request.extensions.get(NAME),
            read_timeout_s=math.inf if timeout is not None and read is None else read,
        )

    def prepared(self, request: Any) -> tuple[Any, KeptBody]:
        """See the port. Without our headers, and with a stream that is kept while it is sent."""
        own = [name for name in request.headers if name.lower().startswith(OWN_HEADERS_PREFIX)]
        stream = request.stream
        if isinstance(stream, self._module.ByteStream):
            body = KeptBody.of(b"".join(stream))
        else:
            body = KeptBody()
            stream = self._kept_stream(stream, body)
        if body.is_known and not own:
            return request, body
        headers = request.headers.copy()
        for name in own:
            del headers[name]
        sent = self._module.Request(
            request.method, request.url, headers=headers, stream=stream, extensions=request.extensions
        )
        return sent, body

    def demand(self, response: Any, beginning: Beginning) -> Any | None:
        """See the port."""
        raw, headers = beginning.raw, response.headers
        decoded = self._decoded(headers, raw)
        if not is_x402_demand(402, headers, decoded):
            response.stream = self._replayed(raw, beginning.rest, response.stream)
            return None
        plain = [(name, value) for name, value in headers.multi_items() if name.lower() != "content-encoding"]
        return self._response(402, plain, decoded or raw, dict(response.extensions))

    def answered(self, request: Any, answer: Answer) -> Any:
        """See the port."""
        headers = [*answer.headers.items(), *([("content-encoding", answer.coding)] if answer.coding else [])]
        extensions = {"http_version": b"HTTP/1.1", NAME: answer.receipt}
        return self._response(answer.status, headers, answer.content, extensions, request)

    def passed_on(self, demand: Any, why: NotPaid) -> Any:
        """See the port."""
        demand.extensions[NAME] = why
        return demand

    def error(self, request: Any, error: AutopayError, demand: Any | None) -> Exception:
        """See the port."""
        ending = ending_of(error)
        kind: Any = self._errors[ending]
        if ending is not Ending.REFUSED:
            found: Exception = kind(str(error), request=request)
            return found
        if demand is None:  # it was refused before, and the seller was not asked now
            problem = {"type": error.type, "detail": str(error)}
            demand = self._module.Response(402, json=problem)
        demand.request = request
        demand.extensions[NAME] = NotPaid(type=error.type, message=str(error))
        refused: Exception = kind(str(error), request=request, response=demand)
        return refused

    def _response(
        self,
        status: int,
        headers: list[tuple[str, str]],
        content: bytes,
        extensions: dict[str, Any],
        request: Any = None,
    ) -> Any:
        """A response that is read; a coding that does not fit its bytes is left out, so that they are kept."""
        lengths = ("content-length", "transfer-encoding")
        kept = [(name.lower().encode(), value.encode()) for name, value in headers if name.lower() not in lengths]
        try:
            return self._module.Response(status, headers=kept, content=content, extensions=extensions, request=request)
        except self._module.DecodingError:
            plain = [(name, value) for name, value in kept if name != b"content-encoding"]
            return self._module.Response(status, headers=plain, content=content, extensions=extensions, request=request)

    def _decoded(self, headers: Any, raw: bytes) -> bytes:
        """The body as far as a demand may be long, and one byte more; nothing of one that cannot be decoded."""
        coding = headers.get("content-encoding")
        if coding is None:
            return raw
        pieces = self._replayed(b"", (raw[at : at + PIECE_BYTES] for at in range(0, len(raw), PIECE_BYTES)), None)
        decoded = bytearray()
        try:
            for piece in self._module.Response(402, headers={"content-encoding": coding}, stream=pieces).iter_bytes():
                decoded += piece
                if len(decoded) > MOST_DEMAND_BYTES:
                    break
        except self._module.DecodingError:
            return b""
        return bytes(decoded[: MOST_DEMAND_BYTES + 1])


class HttpxTransport:
    """What `Transport` does. See `autopay.httpx.Transport` for its arguments."""

    def __init__(
        self,
        module: Any,
        errors: Mapping[Ending, type[Exception]],
        arguments: ClientArguments,
        limits: Limits,
        inner: Any,
    ) -> None:
        checked_agent(arguments.agent)
        self._module = module
        self._library = HttpxLibrary(module, errors)
        self._limits = limits.checked()
        self._inner_sync = inner if hasattr(inner, "handle_request") else None
        self._inner_async = inner if hasattr(inner, "handle_async_request") else None
        self._is_given = inner is not None
        self._payers = Payers(arguments.open)
        self._lock = threading.Lock()
        self._closed = set[str]()

    def send(self, request: Any) -> Any:
        """Send the request, and pay for its answer when that is a demand."""
        inner = self._sync_inner()

        def do(step: Step) -> Any:
            match step:
                case Recall(call):
                    return self._payers.recall(call)
                case Send(sent):
                    return inner.handle_request(sent)
                case ReadBeginning(response):
                    return _beginning(response.stream)
                case Discard(response):
                    return response.close()
                case Buy(call):
                    return self._payers.buy(call)

        return run(steps(self._library, self._payers.unanswered, self._limits, request), do)

    async def send_async(self, request: Any) -> Any:
        """The same in an event loop."""
        inner = self._async_inner()
        payer = self._payers.in_loop

        async def do(step: Step) -> Any:
            match step:
                case Recall(call):
                    return await payer.recall(call)
                case Send(sent):
                    return await inner.handle_async_request(sent)
                case ReadBeginning(response):
                    return await _beginning_async(response.stream)
                case Discard(response):
                    return await response.aclose()
                case Buy(call):
                    return await payer.buy(call)

        return await run_async(steps(self._library, self._payers.unanswered, self._limits, request), do)

    def close(self) -> None:
        """Close all connections of the calls without an event loop."""
        self._closed.add("Client")
        if self._inner_sync is not None:
            self._inner_sync.close()
        self._payers.close()

    async def aclose(self) -> None:
        """Close all connections of the calls in an event loop."""
        self._closed.add("AsyncClient")
        if self._inner_async is not None:
            await self._inner_async.aclose()
        await self._payers.in_loop.close()

    def _sync_inner(self) -> Any:
        with self._lock:
            self._check(self._inner_sync, "handle_request", "Client")
            if self._inner_sync is None:
                self._inner_sync = self._module.HTTPTransport()
            return self._inner_sync

    def _async_inner(self) -> Any:
        with self._lock:
            self._check(self._inner_async, "handle_async_request", "AsyncClient")
            if self._inner_async is None:
                self._inner_async = self._module.AsyncHTTPTransport()
            return self._inner_async

    def _check(self, inner: Any, method: str, kind: str) -> None:
        if kind in self._closed:
            raise RuntimeError("this transport is closed")
        if inner is None and self._is_given:
            raise RuntimeError(f"the inner transport has no {method}, which a {kind} needs: give one that has")


def _beginning(stream: Any) -> Beginning:
    chunks = iter(stream)
    raw = bytearray()
    for chunk in chunks:
        raw += chunk
        if len(raw) > MOST_DEMAND_BYTES:
            return Beginning(bytes(raw), chunks)
    return Beginning(bytes(raw))


async def _beginning_async(stream: Any) -> Beginning:
    chunks = aiter(stream)
    raw = bytearray()
    async for chunk in chunks:
        raw += chunk
        if len(raw) > MOST_DEMAND_BYTES:
            return Beginning(bytes(raw), chunks)
    return Beginning(bytes(raw))


def _kept_stream(module: Any) -> Any:
    class KeptStream(module.SyncByteStream, module.AsyncByteStream):  # type: ignore[misc]
        """A request's body that is kept while it is sent."""

        def __init__(self, stream: Any, body: KeptBody) -> None:
            self._stream = stream
            self._body = body

        def __iter__(self) -> Iterator[bytes]:
            self._body.begin()
            for chunk in self._stream:
                self._body.add(chunk)
                yield chunk
            self._body.end()

        async def __aiter__(self) -> AsyncIterator[bytes]:
            self._body.begin()
            async for chunk in self._stream:
                self._body.add(chunk)
                yield chunk
            self._body.end()

        def close(self) -> None:
            self._stream.close()

        async def aclose(self) -> None:
            await self._stream.aclose()

    return KeptStream


def _replayed(module: Any) -> Any:
    class Replayed(module.SyncByteStream, module.AsyncByteStream):  # type: ignore[misc]
        """A body whose beginning was read: that, then the rest."""

        def __init__(self, raw: bytes, rest: Any, stream: Any) -> None:
            self._raw = raw
            self._rest = rest
            self._stream = stream

        def __iter__(self) -> Iterator[bytes]:
            if self._raw:
                yield self._raw
            if self._rest is not None:
                yield from self._rest

        async def __aiter__(self) -> AsyncIterator[bytes]:
            if self._raw:
                yield self._raw
            if self._rest is not None:
                async for chunk in self._rest:
                    yield chunk

        def close(self) -> None:
            if self._stream is not None:
                self._stream.close()

        async def aclose(self) -> None:
            if self._stream is not None:
                await self._stream.aclose()

    return Replayed
