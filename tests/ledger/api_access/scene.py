"""An application behind the API's guard, and the browsers and programs that call it."""

import asyncio
import html
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import FastAPI, Form, Request
from fastapi.responses import HTMLResponse, StreamingResponse

from autopay.adapters.postgres import PostgresLedger
from autopay.api.access.access import Access
from autopay.api.access.gate import AccessGate
from autopay.api.access.limits import Rates
from autopay.api.access.routes import Operator, Reader, login_router, tell_denials
from autopay.api.access.sites import AllowedHosts

HERE = "http://127.0.0.1:8406"
PUBLIC = "https://autopay.example.com"
JSON = {"content-type": "application/json"}
ELSEWHERE = "https://evil.example"
PAGE = {"origin": HERE, "sec-fetch-site": "same-origin"}
DAY_S = 86_400

ALWAYS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


@dataclass
class Served:
    """A guarded application, and what was done by it."""

    access: Access
    done: list[str]
    gate: AccessGate

    def browser(self, site: str = HERE, address: str = "127.0.0.1") -> httpx.AsyncClient:
        """A client at that address, which keeps cookies."""
        transport = httpx.ASGITransport(self.gate, raise_app_exceptions=False, client=(address, 50_000))
        return httpx.AsyncClient(transport=transport, base_url=site)


def application(access: Access, done: list[str]) -> FastAPI:
    """Something to read, something to do, something that streams, and something that fails."""
    app = FastAPI()

    @app.get("/")
    async def page(request: Request) -> HTMLResponse:
        return HTMLResponse(f"<p nonce={request.state.nonce} data-csrf={html.escape(request.state.csrf_token)}>")

    @app.get("/api/me")
    async def me(reader: Reader) -> dict[str, Any]:
        return {"name": reader.name, "via": reader.via, "scopes": sorted(reader.scopes)}

    @app.post("/api/act")
    async def act(request: Request, actor: Operator) -> dict[str, str]:
        await request.body()
        done.append(actor.name)
        return {"by": actor.name}

    @app.post("/act")
    async def act_by_form(actor: Operator, what: str = Form()) -> dict[str, str]:
        done.append(f"{actor.name} {what}")
        return {"by": actor.name}

    @app.post("/api/forgotten")
    async def forgotten() -> None:  # a route whose author forgot to ask who calls
        done.append("forgotten")

    @app.get("/api/fails")
    async def fails() -> None:
        raise ZeroDivisionError

    @app.get("/api/stream")
    async def stream() -> StreamingResponse:
        async def forever() -> AsyncIterator[str]:
            while True:
                yield "data: x\n\n"
                await asyncio.sleep(0.02)

        return StreamingResponse(forever(), media_type="text/event-stream")

    @app.get("/static/page.css")
    async def style() -> HTMLResponse:
        return HTMLResponse("p{}", headers={"cache-control": "max-age=9"}, media_type="text/css")

    app.include_router(login_router(access))
    tell_denials(app)
    return app


def served(ledger: PostgresLedger, *, recheck_s: float = 15, **how: Any) -> Served:
    """An application behind its guard."""
    rates = how.pop("rates", Rates())
    access = Access(
        ledger,
        AllowedHosts.of(how.pop("allow_hosts", ()), any_address=how.pop("any_address", False)),
        tokens_required=how.pop("tokens_required", False),
        rates=rates,
    )
    done: list[str] = []
    app = application(access, done)
    return Served(access, done, AccessGate(app, access.hosts, access.callers, access.limits, recheck_s=recheck_s))


_NAMES = iter(range(1_000_000))


async def token(books: PostgresLedger, *scopes: str) -> tuple[str, str]:
    """The name and the text of a new token."""
    name = f"t{next(_NAMES)}"
    _, text = await books.tokens.make(name, scopes or ("read", "act"), DAY_S)
    return name, text


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


@asynccontextmanager
async def logged_in(
    guarded: Served, books: PostgresLedger, *scopes: str
) -> AsyncIterator[tuple[httpx.AsyncClient, str]]:
    """A browser that has logged in, and the CSRF token of its page."""
    _, text = await token(books, *scopes)
    async with guarded.browser(PUBLIC) as browser:
        answer = await browser.post("/login", data={"token": text, "next": "/"}, headers={"origin": PUBLIC})
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        yield browser, csrf_of((await browser.get("/")).text)


def csrf_of(page: str) -> str:
    return page.partition("data-csrf=")[2].partition(">")[0]
