"""The chain as an ASGI application: HTTP and WebSocket in front, the slot clock beside them.

What must not live here: the methods, and command-line arguments.
"""

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from localnet.chain import rpc_accounts, rpc_history, rpc_slots, rpc_subscriptions, rpc_transactions
from localnet.chain.bank import Bank
from localnet.chain.pubsub import PubSub
from localnet.chain.rpc import Methods, Node
from localnet.chain.store import Store
from localnet.weather import AsgiApp, Sky, WeatherMiddleware

logger = logging.getLogger(__name__)

FILE_NAME = "chain.db"
DEFAULT_SLOT_MS = 400  # a cluster's
MAX_BODY_BYTES = 50 * 1024  # Agave's --rpc-max-request-body-size


def build_app(home: Path, slot_ms: int = DEFAULT_SLOT_MS, sky: Sky | None = None) -> AsgiApp:
    """The RPC server of the chain in `home`, which is made when it is not there; slots run during its lifespan."""
    sky = sky or Sky()
    methods = Methods()
    for module in (rpc_slots, rpc_accounts, rpc_transactions, rpc_history):
        methods.include(module.METHODS)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        store = Store(home / FILE_NAME)
        bank = Bank(store)
        app.state.node = Node(bank, sky)
        app.state.pubsub = pubsub = PubSub(bank, sky, rpc_subscriptions.METHODS)
        clock = asyncio.create_task(_run_slots(bank, sky, slot_ms / 1000, pubsub))
        try:
            yield
        finally:
            clock.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await clock
            store.close()

    async def answer(request: Request) -> Response:
        body = await request.body()
        if len(body) > MAX_BODY_BYTES:
            return PlainTextResponse("request too large", 413)
        content = methods.answer(request.app.state.node, body)
        return Response(content or b"", media_type="application/json")

    async def listen(socket: WebSocket) -> None:
        pubsub: PubSub = socket.app.state.pubsub
        await pubsub.serve(socket)

    async def health(_request: Request) -> Response:
        return PlainTextResponse("behind" if sky.now.lag_slots > rpc_slots.HEALTHY_LAG else "ok")

    routes = [Route("/", answer, methods=["POST"]), Route("/health", health), WebSocketRoute("/", listen)]
    return WeatherMiddleware(Starlette(routes=routes, lifespan=lifespan), sky)


async def _run_slots(bank: Bank, sky: Sky, slot_s: float, pubsub: PubSub) -> None:
    """Let slots go by at a steady pace; after a pause of the process, time is not made up for."""
    loop = asyncio.get_running_loop()
    due = loop.time() + slot_s
    while True:
        await asyncio.sleep(due - loop.time())
        due = max(due, loop.time() - slot_s) + slot_s
        try:
            if not sky.now.stand_still:
                bank.tick()
            pubsub.announce()
        except sqlite3.Error:  # a full disk stops blocks, not the server
            logger.exception("no block")
