"""Serves the application on a socket until it is told to stop."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

import uvicorn

from autopay.gateway.serving import ServerWithoutSignals

if TYPE_CHECKING:
    from starlette.types import ASGIApp

GRACE_S = 3
"""So long after the order to stop, what is under way may still end; after that it is cut."""


class ApiServer:
    """One application being served."""

    def __init__(self, app: ASGIApp, listening: socket.socket, on_stop: Callable[[], None]) -> None:
        """`on_stop` is called at the order to stop: it ends streams."""
        self._socket = listening
        self._on_stop = on_stop
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="warning",
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=GRACE_S,
        )
        self._server = ServerWithoutSignals(config)

    async def run(self) -> None:
        """Serve until `stop()`."""
        try:
            await self._server.serve(sockets=[self._socket])
        finally:
            self._socket.close()

    def stop(self) -> None:
        """Take no more connections and end; called again, at once."""
        self._on_stop()
        self._server.force_exit = self._server.should_exit
        self._server.should_exit = True
