"""A seller whose every word is an attack on whoever reads it."""

import asyncio
from types import TracebackType
from typing import Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from autopay.gateway.serving import ServerWithoutSignals
from autopay.listening import listen

MARKUP = (
    '<script>window.taken=1</script><img src=x onerror="window.taken=1"><svg onload=window.taken=1>'
    '</pre></div><div hx-get="/approvals" hx-trigger="load" hx-nonce="x"></div><iframe srcdoc=\'x\'></iframe>'
)
OVERRIDE = "cost\u202e00.1 DSU"
TEXT = f"{MARKUP}{OVERRIDE}\u200b"


class HostileSeller:
    """Serves hostile content for nothing, and hostile terms, until the block ends."""

    def __init__(self) -> None:
        self._listening = listen("127.0.0.1", 0)
        routes = [Route("/free", self._free), Route("/terms", self._terms)]
        config = uvicorn.Config(Starlette(routes=routes), log_config=None, lifespan="off", ws="none")
        self._server = ServerWithoutSignals(config)

    @property
    def url(self) -> str:
        """Where it is."""
        host, port = self._listening.getsockname()[:2]
        return f"http://{host}:{port}"

    async def __aenter__(self) -> Self:
        self._serving = asyncio.ensure_future(self._server.serve(sockets=[self._listening]))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        await self._serving
        self._listening.close()

    async def _free(self, _: Request) -> Response:
        return Response(TEXT, media_type="text/html")

    async def _terms(self, _: Request) -> Response:
        return JSONResponse({"x402Version": 1, "error": TEXT, "accepts": [{"description": TEXT}]}, 402)
