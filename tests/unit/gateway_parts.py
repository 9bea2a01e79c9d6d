"""A gateway as it is served, with a backend in memory and a seller of its own."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from autopay.client.errors import InvalidCall
from autopay.client.requests.listener import NOBODY, Listener
from autopay.client.values import Ask, Budget, PaymentSummary, Purchase, Quote
from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.policy.policy import Terms
from autopay.domain.policy.reach import Reach
from autopay.domain.policy.records import ApprovalRecord
from autopay.domain.request import RequestError, RequestStatus
from autopay.gateway.app import GatewayApp
from autopay.gateway.orders import Defaults
from autopay.gateway.serving import GatewayServer, ServerWithoutSignals, url_of
from autopay.listening import listen
from autopay.transport.unanswered import UnansweredCalls

DEMAND_V2 = base64.b64encode(json.dumps({"x402Version": 2, "accepts": []}).encode()).decode()
DEMAND_V1 = {"x402Version": 1, "error": "pay", "accepts": [{"scheme": "exact"}]}


def purchase(ask_id: str = "r1", **changes: Any) -> Purchase:
    """A delivered purchase, with changes."""
    usual = {
        "id": ask_id,
        "agent": "default",
        "status": RequestStatus.DELIVERED,
        "http_status": 200,
        "content": b'{"quotes": [1]}',
        "content_type": "application/json",
        "price": Decimal("0.001"),
        "currency": Currency.USDC,
        "pay_to": "Payee111",
        "transaction": "Sig111",
        "attempts": 1,
        "workflow_id": f"pay/default/{ask_id}",
    }
    return Purchase.model_validate(usual | changes)


def question(number: int = 1) -> ApprovalRecord:
    """A payment that waits for a person."""
    terms = Terms(
        request_id="r1",
        method="GET",
        url="https://api.example.com/report",
        body_hash=None,
        network=Network.DEVNET,
        currency=Currency.USDC,
        mint="mint",
        program="program",
        pay_to="Payee111",
        amount_atomic=2_000_000,
    )
    return ApprovalRecord(
        approval_id=UUID(int=number),
        agent="research",
        request_key="key",
        terms=terms,
        terms_hash=terms.hash(),
        why="above what needs no approval",
        status="PENDING",
        created_at=datetime(2026, 1, 31, 12, tzinfo=UTC),
        expires_at=datetime(2026, 1, 31, 13, tzinfo=UTC),
        decided_at=None,
    )


def payment() -> PaymentSummary:
    """A payment in a list."""
    return PaymentSummary(
        id="r1",
        agent="research",
        at=datetime(2026, 1, 31, 12, 0, 0, 5, tzinfo=UTC),
        url="https://api.example.com/report",
        status="VERIFIED",
        delivered=True,
        price=Decimal("0.000001"),
        currency=Currency.CASH,
        pay_to="Payee111",
        transaction="Sig111",
    )


def refused(rule: str, message: str = "no", **changes: Any) -> Callable[[Ask], Purchase]:
    """What a backend answers that refuses by this rule."""
    unpaid = {"http_status": None, "content": None, "price": None, "transaction": None, "pay_to": None}
    error = RequestError(type=rule, message=message)
    return lambda ask: purchase(ask.id, **{"status": RequestStatus.REFUSED, **unpaid, "error": error, **changes})


@dataclass
class Books:
    """A backend in memory: what was asked of it, and what it answers."""

    answer: Callable[[Ask], Purchase] = lambda ask: purchase(ask.id)
    error: Exception | None = None
    asked: list[tuple[str, Ask]] = field(default_factory=list)
    known: dict[tuple[str, str], Purchase] = field(default_factory=dict)
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    hold: asyncio.Event | None = None
    """When set, a purchase waits for it."""

    canceled: int = 0
    tells: Sequence[str] = ()
    asks: Sequence[ApprovalRecord] = ()
    payments: Sequence[PaymentSummary] = ()
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait until that is so."""
        async with asyncio.timeout(10):
            while not reached():
                await self.changed.wait()
                self.changed.clear()

    async def buy(self, agent: str, ask: Ask, listener: Listener = NOBODY) -> Purchase:
        self.asked.append((agent, ask))
        self.changed.set()
        for text in self.tells:
            if listener.on_progress is not None:
                listener.on_progress(text)
        for approval in self.asks:
            if listener.on_approval is not None:
                listener.on_approval(approval)
        try:
            if self.hold is not None:
                await self.hold.wait()
        except asyncio.CancelledError:
            self.canceled += 1
            self.changed.set()
            raise
        if self.error is not None:
            raise self.error
        return self.known.setdefault((agent, ask.id), self.answer(ask))

    async def quote(self, agent: str, ask: Ask) -> Quote:
        self.asked.append((agent, ask))
        return Quote(url=ask.url, http_status=402, price=Decimal("0.001"), currency=Currency.USDC)

    async def result(self, agent: str, request_id: str, wait_s: float) -> Purchase | None:
        self.calls.append(("result", agent, request_id, wait_s))
        if self.error is not None:
            raise self.error
        return self.known.get((agent, request_id))

    async def purchases(
        self, agent: str, since: datetime | None, host: str | None, limit: int
    ) -> Sequence[PaymentSummary]:
        self.calls.append(("purchases", agent, since, host, limit))
        return self.payments

    async def budget(self, agent: str) -> Budget:
        if agent == "nobody":
            raise InvalidCall("there is no agent 'nobody'", "unknown_agent")
        return Budget(
            agent=agent, phase="FULL", currencies=(), per_request=Decimal("0.1"), left_today=None, waiting=0, asked=0
        )

    async def agents(self) -> Sequence[Budget]:
        return [await self.budget("default")]

    async def pause(self, agent: str, reason: str | None) -> None:
        self.calls.append(("pause", agent, reason))

    async def resume(self, agent: str) -> None:
        self.calls.append(("resume", agent))

    async def cancel(self, agent: str, request_id: str) -> None:
        self.calls.append(("cancel", agent, request_id))

    async def approvals(self, agent: str) -> Sequence[ApprovalRecord]:
        return self.asks

    async def decide(self, approval_id: str, *, approve: bool) -> bool:
        raise AssertionError("nothing is decided over a gateway")

    async def close(self) -> None:
        self.calls.append(("close",))


@dataclass
class Shop:
    """A seller: remembers what it was asked, and answers by the path."""

    seen: list[Request] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    more: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    headers: dict[str, str] = field(default_factory=dict)

    async def answer(self, request: Request) -> Response:
        """What it says at that path."""
        self.seen.append(request)
        self.bodies.append(await request.body())
        match request.path_params["what"]:
            case "free":
                return JSONResponse({"path": request.url.path, "query": request.url.query}, headers=self.headers)
            case "v2":
                return Response(b"pay me", 402, {"PAYMENT-REQUIRED": DEMAND_V2, "X-Seller": "shop", "ETag": "1"})
            case "v1":
                return JSONResponse(DEMAND_V1, 402, {"X-Seller": "shop"})
            case "quota":
                return JSONResponse({"error": {"code": "insufficient_quota"}}, 402)
            case "moved":
                return Response(status_code=302, headers={"Location": request.query_params["to"]})
            case "events":
                return StreamingResponse(self._events(), media_type="text/event-stream")
            case _:
                return Response(b"nothing here", 404)

    async def _events(self) -> AsyncIterator[bytes]:
        try:
            yield b"data: first\n\n"
            await self.more.wait()
            yield b"data: second\n\n"
        finally:
            self.ended.set()


@dataclass
class Place:
    """A served gateway, its backend, and the seller."""

    url: str
    shop_url: str
    books: Books
    shop: Shop
    app: GatewayApp
    server: GatewayServer
    serving: asyncio.Task[None]
    http: httpx.AsyncClient

    def door(self, path: str) -> str:
        """The path of the door to the shop's path."""
        return f"/p/{self.shop_url.replace('://', '/')}{path}"

    def renewed(self) -> "Place":
        """The same for another test: nothing was asked yet, and everything answers as usual."""
        for part in (self.books, self.shop):
            for name, value in vars(type(part)()).items():
                setattr(part, name, value)
        self.app.purchases.unanswered = UnansweredCalls()
        return self


@asynccontextmanager
async def served_shop(shop: Shop) -> AsyncIterator[str]:
    """The shop's address while it is open."""
    methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    app = Starlette(routes=[Route("/{what:path}", shop.answer, methods=methods)])
    listening = listen("127.0.0.1", 0)
    config = uvicorn.Config(app, log_config=None, log_level="error", access_log=False, lifespan="off", ws="none")
    server = ServerWithoutSignals(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield url_of(listening)
    finally:
        server.should_exit = server.force_exit = True
        await serving
        listening.close()


@asynccontextmanager
async def served(
    shop_url: str,
    shop: Shop,
    *,
    token: str | None = None,
    reach: Reach = Reach(),  # noqa: B008 - frozen
    defaults: Defaults = Defaults("default"),  # noqa: B008 - a tuple
    most_at_once: int = 64,
    resolve: Any = None,
    port: int = 0,
) -> AsyncIterator[Place]:
    """A gateway before that shop."""
    books = Books()
    more = {"resolve": resolve} if resolve is not None else {}
    app = GatewayApp(books, defaults, reach, token=token, most_at_once=most_at_once, **more)
    listening = listen("127.0.0.1", port)
    url = url_of(listening)
    server = GatewayServer(app, listening)
    serving = asyncio.create_task(server.run())
    try:
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=10) as http:
            yield Place(url, shop_url, books, shop, app, server, serving, http)
    finally:
        server.stop()
        server.stop()
        await serving
