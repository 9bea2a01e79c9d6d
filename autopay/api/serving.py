"""Serves the application on a socket until it is told to stop."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import uvicorn

from autopay.gateway.serving import ServerWithoutSignals

if TYPE_CHECKING:
    from starlette.types import ASGIApp

GRACE_S = 3
"""So long after the order to stop, what is under way may still end; after that it is cut."""


class ApiServer:
    """One application being served."""

    def __init__(self, app: ASGIApp, listening: socket.socket, stopping: asyncio.Event) -> None:
        """`stopping` is set at the order to stop: streams end by it."""
        self._socket = listening
        self._stopping = stopping
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
        self._stopping.set()
        self._server.force_exit = self._server.should_exit
        self._server.should_exit = True
