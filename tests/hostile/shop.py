"""A small HTTP server on loopback that says, byte by byte, what it is told to: sellers that keep no rule.

What must not live here: what they say (`conduct`).
"""

import asyncio
import base64
import contextlib
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from tests.hostile.scene import Scene
from tests.localnet.stack import free_port

PAYMENT_HEADERS = ("payment-signature", "x-payment")


@dataclass
class Visit:
    """One request as the seller sees it, and the line to answer on; `number` counts the like, from 1."""

    scene: Scene
    path: str
    headers: dict[str, str]
    number: int
    line: asyncio.StreamWriter

    @property
    def sealed(self) -> str | None:
        """The payment header as it came."""
        return next((self.headers[name] for name in PAYMENT_HEADERS if name in self.headers), None)

    @property
    def payment(self) -> dict[str, Any]:
        """The payment that came."""
        assert self.sealed is not None
        content: dict[str, Any] = json.loads(base64.b64decode(self.sealed, validate=True))
        return content

    async def send(self, data: bytes) -> None:
        """Put bytes on the line."""
        self.line.write(data)
        await self.line.drain()

    async def answer(self, status: int, headers: Iterable[tuple[str, str]] = (), body: bytes = b"") -> None:
        """A whole answer, well formed."""
        lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in headers]
        await self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


Act = Callable[[Visit], Awaitable[None]]


class Shop:
    """One seller on a port, and so an origin, of its own: acts one way on plain requests and another on paid ones."""

    def __init__(self, scene: Scene, plain: Act, paid: Act) -> None:
        self.scene = scene
        self.plain: list[Visit] = []
        self.paid: list[Visit] = []
        self._acts = plain, paid
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def open(self) -> str:
        """Listen; the URL of what is sold here."""
        port = free_port()  # nobody's before: an origin is known by whom it was paid at
        self._server = await asyncio.start_server(self._meet, "127.0.0.1", port)
        self.scene.url = f"http://127.0.0.1:{port}/data"
        return self.scene.url

    async def close(self) -> None:
        """Listen no more, and hang up."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _meet(self, reader: asyncio.StreamReader, line: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._serve(await reader.readuntil(b"\r\n\r\n"), line)
        finally:
            self._open.discard(task)
            line.close()

    async def _serve(self, head: bytes, line: asyncio.StreamWriter) -> None:
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (each.partition(": ") for each in lines if each)}
        is_paid = any(name in headers for name in PAYMENT_HEADERS)
        visits = self.paid if is_paid else self.plain
        visit = Visit(self.scene, first.split(" ")[1], headers, len(visits) + 1, line)
        visits.append(visit)
        await self._acts[is_paid](visit)
