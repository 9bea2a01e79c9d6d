"""The chain as an ASGI application: HTTP and WebSocket in front, the slot clock beside them."""

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

from localnet.chain.bank import Bank
from localnet.chain.rpc import accounts as rpc_accounts
from localnet.chain.rpc import history as rpc_history
from localnet.chain.rpc import slots as rpc_slots
from localnet.chain.rpc import subscriptions as rpc_subscriptions
from localnet.chain.rpc import transactions as rpc_transactions
from localnet.chain.rpc.methods import Methods, Node
from localnet.chain.rpc.pubsub import PubSub
from localnet.chain.store import Store
from localnet.weather.faults import WeatherState
from localnet.weather.middleware import AsgiApp, WeatherMiddleware

logger = logging.getLogger(__name__)

FILE_NAME = "chain.db"
DEFAULT_SLOT_MS = 400  # a cluster's
MAX_BODY_BYTES = 50 * 1024  # Agave's --rpc-max-request-body-size


def build_app(home: Path, slot_ms: int = DEFAULT_SLOT_MS, weather: WeatherState | None = None) -> AsgiApp:
    """The RPC server of the chain in `home`, which is made when it is not there; slots run during its lifespan."""
    weather = weather or WeatherState()
    methods = Methods()
    for module in (rpc_slots, rpc_accounts, rpc_transactions, rpc_history):
        methods.include(module.METHODS)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        with contextlib.closing(Store(home / FILE_NAME)) as store:
            bank = Bank(store)
            app.state.node = Node(bank, weather)
            app.state.pubsub = pubsub = PubSub(bank, weather, rpc_subscriptions.METHODS)
            clock = asyncio.create_task(_run_slots(bank, weather, slot_ms / 1000, pubsub))
            try:
                yield
            finally:
                clock.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await clock

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
        return PlainTextResponse("behind" if weather.now.lag_slots > rpc_slots.HEALTHY_LAG else "ok")

    routes = [Route("/", answer, methods=["POST"]), Route("/health", health), WebSocketRoute("/", listen)]
    return WeatherMiddleware(Starlette(routes=routes, lifespan=lifespan), weather)


async def _run_slots(bank: Bank, weather: WeatherState, slot_s: float, pubsub: PubSub) -> None:
    """Let slots go by at a steady pace; after a pause of the process, time is not made up for."""
    loop = asyncio.get_running_loop()
    due = loop.time() + slot_s
    while True:
        await asyncio.sleep(due - loop.time())
        due = max(due, loop.time() - slot_s) + slot_s
        try:
            if not weather.now.stand_still:
                bank.tick()
            pubsub.announce()
        except sqlite3.Error:  # a full disk stops blocks, not the server
            logger.exception("no block")
