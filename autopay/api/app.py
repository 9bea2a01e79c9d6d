"""The application: the API below /api, and what hangs beside it."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.responses import JSONResponse, Response

from autopay import __version__
from autopay.api.access.routes import login_router, tell_denials
from autopay.api.delegation import routes as delegation
from autopay.api.page.frame.routing import problem_view
from autopay.api.page.page import add_page
from autopay.api.page.views.login import refused_login
from autopay.api.problems import PROBLEMS, tell_problems
from autopay.api.routes import acts, agents, events, ledger, money, requests, transactions, webhooks
from autopay.api.services import Services, ServicesNeeded

OPENAPI = "/api/openapi.json"

_ABOUT = """
What agents buy, what it costs, and what became of it; and what a person can do about it.

Amounts are exact: decimal texts in token units, and base units as whole numbers. Times are UTC. Lists are given in
pages, the newest first: `next` is where a list goes on. Every error is a problem (RFC 9457): `rule` is its stable name.
"""


def create_app(services: Services) -> FastAPI:
    """The application that works with these services; to be served behind `services.access.gate`."""
    app = FastAPI(
        title="Autopay",
        version=__version__,
        description=_ABOUT.strip(),
        openapi_url=OPENAPI,
        docs_url=None,  # its scripts come from elsewhere
        redoc_url=None,
        responses=PROBLEMS,
    )
    app.state.services = services
    for routes in (agents, transactions, requests, money, ledger, events, acts, delegation, webhooks):
        app.include_router(routes.router, prefix="/api")
    for path, answer in (("/health", _health), ("/healthz", _health), ("/readyz", _ready)):
        app.add_api_route(path, answer, methods=["GET"], include_in_schema=False)
    app.include_router(login_router(services.access, refused_login))
    add_page(app, services)
    tell_problems(app, problem_view)
    tell_denials(app)
    return app


async def _health() -> Response:
    return JSONResponse({"status": "ok"})


async def _ready(services: ServicesNeeded) -> Response:
    status, content = await services.readiness.answer()
    return JSONResponse(content, status)
