"""The doors from Python as one: the transports of httpx and httpx2, with and without an event loop, and of requests."""

import asyncio
import base64
import io
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import httpx
import httpx2
import requests
import urllib3

import autopay.httpx
import autopay.httpx2
import autopay.requests

OFFER = {
    "x402Version": 2,
    "accepts": [{"scheme": "exact", "network": "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1", "amount": "2000"}],
}
DEMAND_HEADERS = {"payment-required": base64.b64encode(json.dumps(OFFER).encode()).decode()}


@dataclass
class Answered:
    """What a seller answers; `body` may come in parts."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Iterable[bytes] = b""


DEMAND = Answered(402, DEMAND_HEADERS, b"{}")


@dataclass
class AskedOf:
    """What a seller was asked."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Seller:
    """Answers what it is told next, then the last one again, and remembers what it was asked."""

    answers: list[Answered]
    asked: list[AskedOf] = field(default_factory=list)
    is_down: bool = False

    def answer(self, asked: AskedOf) -> Answered:
        """The next answer."""
        self.asked.append(asked)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@dataclass
class Seen:
    """What a program got."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    receipt: Any
    response: Any

    @property
    def text(self) -> str:
        """The content as text."""
        return self.content.decode()


class Door:
    """One way in, before a seller in memory.

    Args:
        name: `httpx`, `httpx2` (both with `is_async` or not), or `requests`.
        is_async: whether it is called in an event loop.
        seller: who answers plain requests.
        arguments: of the transport.
    """

    def __init__(self, name: str, seller: Seller, *, is_async: bool = False, **arguments: Any) -> None:
        self.name = name
        self.library: Any = {"httpx": httpx, "httpx2": httpx2, "requests": requests}[name]
        self.module: Any = {"httpx": autopay.httpx, "httpx2": autopay.httpx2, "requests": autopay.requests}[name]
        self.is_async = is_async
        self.seller = seller
        self._arguments = {"agent": "research", **arguments}
        self._stack = AsyncExitStack()
        self.client: Any = None
        self.transport: Any = None

    @property
    def read_error(self) -> Exception:
        """What a connection that is cut gives, beneath the library."""
        if self.name == "requests":
            return urllib3.exceptions.ProtocolError("cut")
        error: Exception = self.library.ReadError("cut")
        return error

    @property
    def base_error(self) -> type[Exception]:
        """What all errors of the library are."""
        kind: type[Exception] = requests.RequestException if self.name == "requests" else self.library.HTTPError
        return kind

    async def __aenter__(self) -> Self:
        if self.name == "requests":
            self.transport = autopay.requests.Adapter(inner=MemoryAdapter(self.seller), **self._arguments)
            self.client = requests.Session()
            self.client.mount("https://", self.transport)
            return self
        inner = self.library.MockTransport(self._answer_async if self.is_async else self._answer)
        self.transport = self.module.Transport(inner=inner, **self._arguments)
        kind = self.library.AsyncClient if self.is_async else self.library.Client
        self.client = kind(transport=self.transport, follow_redirects=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.is_async:
            await self.client.aclose()
        else:
            await asyncio.to_thread(self.client.close)

    async def call(
        self,
        url: str = "https://shop.example/data",
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        says: Mapping[str, object] | None = None,
        timeout: Any = None,
    ) -> Seen:
        """Send a request; `says` is what it says to Autopay, by extensions or, for requests, by headers."""
        more: dict[str, Any] = {} if timeout is None else {"timeout": timeout}
        headers = dict(headers or {})
        if self.name == "requests":
            headers |= {f"Autopay-{name.replace('_', '-').title()}": str(value) for name, value in (says or {}).items()}
            response = await asyncio.to_thread(self.client.request, method, url, headers=headers, data=body, **more)
            return Seen(
                response.status_code,
                response.headers,
                response.content,
                autopay.requests.receipt(response),
                response,
            )
        if says is not None:
            more["extensions"] = {"autopay": says}
        if self.is_async:
            response = await self.client.request(method, url, headers=headers, content=body, **more)
        else:
            response = await asyncio.to_thread(self.client.request, method, url, headers=headers, content=body, **more)
        receipt = response.extensions.get("autopay")
        return Seen(response.status_code, response.headers, response.content, receipt, response)

    def stream_of(self, *chunks: bytes) -> Any:
        """A body that can be read once."""
        if not self.is_async:
            return iter(chunks)

        async def parts() -> Any:
            for chunk in chunks:
                yield chunk

        return parts()

    def _answer(self, request: Any) -> Any:
        request.read()
        return self._response(request)

    async def _answer_async(self, request: Any) -> Any:
        await request.aread()
        return self._response(request)

    def _response(self, request: Any) -> Any:
        if self.seller.is_down:
            raise self.library.ConnectError("down", request=request)
        asked = AskedOf(request.method, str(request.url), dict(request.headers), request.content)
        answer = self.seller.answer(asked)
        body: Any = answer.body
        if not isinstance(body, bytes):
            body = _parts_async(body) if self.is_async else iter(body)
        headers = {**answer.headers}
        if isinstance(body, bytes):  # as on the wire: bytes that are not yet decoded
            stream = self.library.ByteStream(body)
            return self.library.Response(answer.status, headers=headers, stream=_once(stream, self.library))
        return self.library.Response(answer.status, headers=headers, content=body)


def _once(stream: Any, library: Any) -> Any:
    class Once(library.SyncByteStream, library.AsyncByteStream):
        def __iter__(self) -> Any:
            yield from stream

        async def __aiter__(self) -> Any:
            for each in stream:
                yield each

    return Once()


async def _parts_async(parts: Iterable[bytes]) -> Any:
    for part in parts:
        yield part


OpenDoor = Callable[..., Any]
"""Opens the door of a test before a seller with these answers."""


class MemoryAdapter(requests.adapters.BaseAdapter):
    """Sends to a seller in memory."""

    def __init__(self, seller: Seller) -> None:
        super().__init__()
        self._seller = seller
        self.timeouts: list[Any] = []

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        """Its next answer."""
        if self._seller.is_down:
            raise requests.ConnectionError("down", request=request)
        body: Any = request.body
        if body is None:
            body = b""
        elif hasattr(body, "read"):
            read: Callable[[int], bytes] = body.read
            body = b"".join(iter(lambda: read(7), b""))
        elif not isinstance(body, bytes | str):
            body = b"".join(body)
        headers = {str(name): str(value) for name, value in request.headers.items()}
        content = body.encode() if isinstance(body, str) else body
        answer = self._seller.answer(AskedOf(request.method or "", request.url or "", headers, content))
        raw = urllib3.HTTPResponse(
            body=_Parts([answer.body] if isinstance(answer.body, bytes) else answer.body),
            headers=dict(answer.headers),
            status=answer.status,
            preload_content=False,
        )
        return requests.adapters.HTTPAdapter().build_response(request, raw)

    def close(self) -> None:
        """Nothing to close."""


class _Parts(io.RawIOBase):
    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = iter(parts)
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            try:
                self._left = next(self._parts)
            except StopIteration:
                return 0
        part, self._left = self._left[: len(buffer)], self._left[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)
