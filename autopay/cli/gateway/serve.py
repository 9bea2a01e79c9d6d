"""Starts a gateway by its order, and stops it at a signal."""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autopay.cli.connect.event_loop import STOP_SIGNALS
from autopay.cli.connect.telemetry import set_up_telemetry
from autopay.cli.terminal.exit_codes import CommandError
from autopay.cli.terminal.options import DEFAULT_AGENT
from autopay.client.direct import DirectBackend
from autopay.client.requests.connections import Connections
from autopay.client.values import units
from autopay.domain.policy.reach import Reach, is_loopback_name
from autopay.gateway.app import GatewayApp
from autopay.gateway.orders import Defaults
from autopay.gateway.serving import GatewayServer, url_of
from autopay.listening import listen, why_not

if TYPE_CHECKING:
    from autopay.settings import Settings

TOKEN_BYTES = 24


@dataclass(frozen=True)
class GatewayOrder:
    """What a gateway is to be: who may pay (the first by default; none: every agent, and by default the embedded
    stack's own), at most how much, and where."""

    agents: tuple[str, ...]
    max_price_atomic: int | None
    host: str
    port: int

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it."""
        return is_loopback_name(self.host)


def token_for(settings: Settings, order: GatewayOrder, *, wanted: bool) -> tuple[str | None, bool]:
    """The token that callers have to show, and whether it was made now; None where none is needed."""
    secret = settings.gateway_token.get_secret_value()
    if secret:
        return secret, False
    if order.is_local and not wanted:
        return None, False
    return new_token(), True


def new_token() -> str:
    """A token that nobody guesses, fit for a header and a path."""
    return secrets.token_urlsafe(TOKEN_BYTES)


async def serve(settings: Settings, order: GatewayOrder, token: str | None, show: Callable[[str], None]) -> None:
    """Serve until a signal; `show` gets the address once connections are taken.

    Raises:
        CommandError: it cannot listen there, or there is no default agent.
    """
    set_up_telemetry(settings, "gateway")
    async with gateway_server(settings, order, token) as (server, url):
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, server.stop)
        show(url)
        await server.run()


@asynccontextmanager
async def gateway_server(
    settings: Settings, order: GatewayOrder, token: str | None
) -> AsyncIterator[tuple[GatewayServer, str]]:
    """A gateway that takes connections, to be run, and its address.

    Raises:
        CommandError: it cannot listen there, or there is no default agent.
    """
    listening = _listen(order.host, order.port)
    try:
        if not order.agents:
            await _launch_default_agent(settings)
        reach = dataclasses.replace(
            Reach.of(settings.allowed_http_hosts, settings.allowed_private_hosts), loopback=order.is_local
        )
        most = order.max_price_atomic
        usual = order.agents[0] if order.agents else DEFAULT_AGENT
        defaults = Defaults(usual, None if most is None else units(most), agents=order.agents)
        app = GatewayApp(DirectBackend(settings), defaults, reach, token=token, only_loopback=order.is_local)
        yield GatewayServer(app, listening), url_of(listening)
    finally:
        listening.close()


async def _launch_default_agent(settings: Settings) -> None:
    from autopay.cli.request.default_agent import launch_default_agent  # needs the chain's libraries

    connections = Connections(settings)
    try:
        await launch_default_agent(connections, await connections.agent(DEFAULT_AGENT))
    finally:
        await connections.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        return listen(host, port)
    except OSError as error:
        raise CommandError(f"--listen {host} --port {port}: {why_not(error)}; --port 0 is any free") from None
