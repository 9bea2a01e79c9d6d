"""Serves a gateway on a socket until it is told to stop; what is under way then ends, or is told to ask again."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn

from autopay.gateway.purchases import GRACE_S

if TYPE_CHECKING:
    from autopay.gateway.app import GatewayApp

STREAMS_S = GRACE_S + 3
"""So long after the order to stop, answers that are streamed may still end; after that they are cut."""


def url_of(listening: socket.socket) -> str:
    """Where it is asked at."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


class GatewayServer:
    """One gateway being served."""

    def __init__(self, gateway: GatewayApp, listening: socket.socket) -> None:
        self._gateway = gateway
        self._socket = listening
        config = uvicorn.Config(
            gateway.asgi,
            log_config=None,
            log_level="warning",
            access_log=False,  # paths may hold tokens, and belong to the callers
            lifespan="off",
            ws="none",
            server_header=False,
            date_header=False,  # the seller's own are passed on
            proxy_headers=False,
            timeout_graceful_shutdown=int(STREAMS_S),
        )
        self._server = ServerWithoutSignals(config)

    async def run(self) -> None:
        """Serve until `stop()`, and close what the gateway has open."""
        try:
            await self._server.serve(sockets=[self._socket])
        finally:
            self._socket.close()
            await self._gateway.close()

    def stop(self) -> None:
        """Take no more connections and end; called again, at once."""
        self._gateway.stop()
        self._server.force_exit = self._server.should_exit
        self._server.should_exit = True


class ServerWithoutSignals(uvicorn.Server):
    """A uvicorn server that leaves the signals to the process."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield
