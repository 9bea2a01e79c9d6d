"""A receiver of webhooks: a real server on loopback that checks signatures and answers as it is told."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from autopay.gateway.serving import ServerWithoutSignals, url_of
from autopay.listening import listen


@dataclass
class Received:
    """One POST."""

    path: str
    headers: dict[str, str]
    body: bytes
    status: int

    @property
    def webhook_id(self) -> str:
        return self.headers["webhook-id"]


@dataclass
class Holding:
    """A request that is kept waiting."""

    began: asyncio.Event = field(default_factory=asyncio.Event)
    goes_on: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class Receiver:
    """What came, and what is answered next; 204 when nothing is said."""

    url: str
    received: list[Received] = field(default_factory=list)
    answers: deque[int] = field(default_factory=deque)
    always: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    judge: Callable[[bytes], int | None] = lambda _: None
    holds: dict[str, Holding] = field(default_factory=dict)
    _came: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def answer(self, request: Request) -> Response:
        body = await request.body()
        if (holding := self.holds.pop(request.url.path, None)) is not None:
            holding.began.set()
            await holding.goes_on.wait()
        status = self.judge(body) or (self.answers.popleft() if self.answers else self.always)
        async with self._came:
            self.received.append(Received(request.url.path, dict(request.headers), body, status))
            self._came.notify_all()
        return Response(status_code=status, headers=self.headers)

    async def until(self, reached: Callable[[list[Received]], Any], within_s: float = 20) -> None:
        """Wait until that is true of what came."""
        async with asyncio.timeout(within_s), self._came:
            await self._came.wait_for(lambda: bool(reached(self.received)))


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A receiver that listens."""
    listening = listen("127.0.0.1", 0)
    receiver = Receiver(url_of(listening))
    app = Starlette(routes=[Route("/{path:path}", receiver.answer, methods=["GET", "POST"])])
    config = uvicorn.Config(app, log_config=None, log_level="error", lifespan="off", ws="none")
    server = ServerWithoutSignals(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield receiver
    finally:
        server.should_exit = True
        await serving
        listening.close()
