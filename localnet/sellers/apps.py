"""The two FastAPI applications: routes, what each costs, and the payment middleware in front."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, Field
from x402 import x402ResourceServer
from x402.extensions.payment_identifier import (
    PAYMENT_IDENTIFIER,
    declare_payment_identifier_extension,
)
from x402.http import HTTPFacilitatorClient, x402HTTPResourceServer
from x402.http.middleware.fastapi import payment_middleware
from x402.http.types import RouteConfig
from x402.mechanisms.svm.exact import register_exact_svm_server

from localnet.sellers.chat import Conversation, completion, completion_events
from localnet.sellers.knowledge import INSIGHTS, answer_to, insight_on
from localnet.sellers.market import MarketFeed
from localnet.sellers.payment_v1 import PaymentMiddlewareV1
from localnet.sellers.prices import ANSWER, INSIGHT, MARKET_FEED, NETWORK, ListPrice, options
from localnet.sellers.remembered import RememberedAnswers
from localnet.weather.faults import WeatherState

FEED_TEXT = "Prices of SOL, BTC and ETH at two venues and the spread between them"
INSIGHT_TEXT = "What is known about a topic: " + ", ".join(INSIGHTS)
ANSWER_TEXT = "An answer to a question"
CHAT_TEXT = "An answer to a conversation, for OpenAI's clients"


@dataclass(frozen=True)
class SellerAccount:
    """Who sells: the facilitator's client and fee payer, the address that is paid, and the weather."""

    name: str
    facilitator: HTTPFacilitatorClient
    fee_payer_v1: str
    pay_to: str
    weather: WeatherState

    @property
    def payments_v1(self) -> PaymentMiddlewareV1:
        return PaymentMiddlewareV1(self.facilitator, self.fee_payer_v1, self.pay_to, self.weather)


class Question(BaseModel):
    """The body of `POST /api/ai-insights`."""

    question: str = Field(min_length=1, max_length=4_000)


def market_app(seller: SellerAccount) -> FastAPI:
    """Market Data: `GET /api/market-feed`."""
    feed = MarketFeed()
    payments_v1 = seller.payments_v1
    app = _app(seller, {"GET /api/market-feed": (MARKET_FEED, FEED_TEXT)})

    @app.get("/api/market-feed")
    async def market_feed() -> dict[str, Any]:
        return feed.snapshot()

    @app.get("/v1/api/market-feed")
    async def market_feed_v1(request: Request) -> Response:
        return await payments_v1.sell(request, MARKET_FEED, FEED_TEXT, feed.snapshot)

    return app


def knowledge_app(seller: SellerAccount) -> FastAPI:
    """Knowledge Data: `GET` and `POST /api/ai-insights`, `POST /api/chat/completions`.

    Under v2 it remembers answers by payment identifier.
    """
    payments_v1 = seller.payments_v1
    prices = {
        "GET /api/ai-insights": (INSIGHT, INSIGHT_TEXT),
        "POST /api/ai-insights": (ANSWER, ANSWER_TEXT),
        "POST /api/chat/completions": (ANSWER, CHAT_TEXT),
    }
    app = _app(seller, prices, {PAYMENT_IDENTIFIER: declare_payment_identifier_extension()})
    app.middleware("http")(RememberedAnswers())

    @app.get("/api/ai-insights")
    async def insight(topic: str) -> dict[str, Any]:
        return _known(topic)

    @app.post("/api/ai-insights")
    async def answer(question: Question) -> dict[str, Any]:
        return answer_to(question.question)

    @app.post("/api/chat/completions")
    async def chat(conversation: Conversation) -> Response:
        if conversation.stream:
            return StreamingResponse(completion_events(conversation), media_type="text/event-stream")
        return JSONResponse(completion(conversation))

    @app.post("/v1/api/chat/completions")
    async def chat_v1(request: Request, conversation: Conversation) -> Response:
        if conversation.stream:
            raise HTTPException(400, "a stream is sold under x402 v2 only")  # and nothing is charged
        return await payments_v1.sell(request, ANSWER, CHAT_TEXT, lambda: completion(conversation))

    @app.get("/v1/api/ai-insights")
    async def insight_v1(request: Request, topic: str) -> Response:
        return await payments_v1.sell(request, INSIGHT, INSIGHT_TEXT, lambda: _known(topic))

    @app.post("/v1/api/ai-insights")
    async def answer_v1(request: Request, question: Question) -> Response:
        return await payments_v1.sell(request, ANSWER, ANSWER_TEXT, lambda: answer_to(question.question))

    return app


def _known(topic: str) -> dict[str, Any]:
    insight = insight_on(topic)
    if insight is None:
        raise HTTPException(404, f"no such topic; one of {', '.join(INSIGHTS)}")  # and nothing is charged
    return insight


def _app(
    seller: SellerAccount,
    prices: Mapping[str, tuple[ListPrice, str]],
    extensions: dict[str, Any] | None = None,
) -> FastAPI:
    """The free routes, and the SDK's payment middleware in front of what `prices` names."""
    app = FastAPI(title=seller.name, docs_url=None, redoc_url=None)
    app.middleware("http")(_payment_middleware(seller, prices, extensions))

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/api/status")
    async def status() -> dict[str, str]:
        return {"service": seller.name, "status": "open"}

    @app.get("/")
    async def catalogue() -> dict[str, Any]:
        routes = [
            {
                "route": versioned,
                "x402Version": version,
                "description": text,
                "price": [asked.model_dump() for asked in price.now(seller.weather)],
            }
            for route, (price, text) in prices.items()
            for version, versioned in ((2, route), (1, route.replace("/api/", "/v1/api/")))
        ]
        return {"service": seller.name, "pay_to": seller.pay_to, "paid": routes, "free": ["GET /api/status"]}

    return app


def _payment_middleware(
    seller: SellerAccount,
    prices: Mapping[str, tuple[ListPrice, str]],
    extensions: dict[str, Any] | None,
) -> Any:
    server = x402ResourceServer(seller.facilitator)
    register_exact_svm_server(server, NETWORK)
    routes = {
        route: RouteConfig(
            accepts=options(price, seller.pay_to, seller.weather),
            description=text,
            mime_type="application/json",
            service_name=seller.name,
            extensions=extensions,
        )
        for route, (price, text) in prices.items()
    }
    # Asks the facilitator what it supports and checks the routes against it. The middleware's own way of doing
    # so ends the process on a mismatch, and prints.
    x402HTTPResourceServer(server, routes).initialize()
    return payment_middleware(routes, server, sync_facilitator_on_start=False)
