"""`/healthz` and `/readyz` of a process that serves nothing else, at AUTOPAY_HEALTH.

`/healthz` says that the event loop turns, `/readyz` that every part works that the process needs.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from autopay.domain.errors import SettingsError
from autopay.health.ready import Readiness
from autopay.listening import listen, why_not

MOST_AT_ONCE = 32
"""Connections; more are answered with 503."""


def health_app(readiness: Readiness) -> ASGIApp:
    """The two paths as an ASGI app."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (await _answer(scope, readiness))(scope, receive, send)

    return app


async def _answer(scope: Scope, readiness: Readiness) -> Response:
    if scope["path"] not in ("/healthz", "/readyz"):
        return JSONResponse({"status": "not found"}, 404)
    if scope["method"] not in ("GET", "HEAD"):
        return JSONResponse({"status": "GET or HEAD only"}, 405)
    if scope["path"] == "/healthz":
        return JSONResponse({"status": "ok"})
    status, content = await readiness.answer()
    return JSONResponse(content, status)


@asynccontextmanager
async def serving_health(address: str, readiness: Readiness) -> AsyncIterator[None]:
    """Serve both at `host:port` for as long as the context is open; without an address, nothing.

    Raises:
        SettingsError: it cannot listen there.
    """
    if not address:
        yield
        return
    import uvicorn  # noqa: PLC0415 - most workers serve nothing

    from autopay.gateway.serving import ServerWithoutSignals  # noqa: PLC0415

    parts = urlsplit(f"//{address}")
    try:
        listening = listen(parts.hostname or "", parts.port or 0)
    except OSError as error:
        raise SettingsError(f"AUTOPAY_HEALTH={address} cannot be listened at: {why_not(error)}") from None
    config = uvicorn.Config(
        health_app(readiness),
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MOST_AT_ONCE,
        timeout_graceful_shutdown=1,
    )
    server = ServerWithoutSignals(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]), name="health")
    try:
        yield
    finally:
        server.should_exit = True
        await serving
        listening.close()
