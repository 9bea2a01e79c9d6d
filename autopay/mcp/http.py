"""The server over streamable HTTP: with a token, for the host names that it is meant for, on loopback by default."""

from __future__ import annotations

import hmac
import os
import secrets
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
from mcp.server.transport_security import TransportSecuritySettings
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse

from autopay.client.errors import InvalidCall
from autopay.listening import listen, why_not
from autopay.settings.secret_file import SecretFileError, read_secret_text

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer
    from starlette.types import ASGIApp, Receive, Scope, Send

PATH = "/mcp"
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
LEAST_TOKEN_CHARS = 20
_SHUTDOWN_S = 2


class TokenRequired:
    """Lets requests with `Authorization: Bearer <token>` through, and answers 401 to all others."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._expected = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection of the ASGI server."""
        if scope["type"] == "lifespan" or self._has_token(scope):
            await self._app(scope, receive, send)
            return
        refused = PlainTextResponse("a token is needed", 401, {"WWW-Authenticate": 'Bearer realm="autopay"'})
        await refused(scope, receive, send)

    def _has_token(self, scope: Scope) -> bool:
        given = Headers(scope=scope).getlist("authorization") if scope["type"] == "http" else []
        if len(given) != 1:
            return False
        scheme, _, token = given[0].partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode("latin-1"), self._expected)


def http_app(server: MCPServer[Any], token: str, hosts: Sequence[str] = ()) -> ASGIApp:
    """The server as an ASGI application, for clients that call it by one of these host names, or on loopback.

    A web page cannot make it work for itself: it has no token, and its name (DNS rebinding) or origin is refused.
    """
    names = [*LOOPBACK, *hosts]
    checks = TransportSecuritySettings(
        allowed_hosts=[each for name in names for each in (name, f"{name}:*")],
        allowed_origins=[
            f"{scheme}://{each}" for scheme in ("http", "https") for name in names for each in (name, f"{name}:*")
        ],
    )
    return TokenRequired(server.streamable_http_app(streamable_http_path=PATH, transport_security=checks), token)


async def serve(app: ASGIApp, at: tuple[str, int], on_ready: Callable[[str], None]) -> None:
    """Serve until a signal; `on_ready` gets the URL as soon as connections are taken. Port 0 takes a free one.

    Raises:
        InvalidCall: nothing can listen there.
    """
    host, port = at
    listening = _listen(host, port)
    with listening:
        name = f"[{host}]" if ":" in host else host
        on_ready(f"http://{name}:{listening.getsockname()[1]}{PATH}")
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, timeout_graceful_shutdown=_SHUTDOWN_S, server_header=False
        )
        await uvicorn.Server(config).serve(sockets=[listening])


def token_of(file: Path) -> str:
    """The token in that file, which is made first when there is none, for its owner alone.

    Raises:
        InvalidCall: it cannot be read or made, or holds no token.
    """
    path = file.expanduser()
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as made:
                made.write(secrets.token_urlsafe(32) + "\n")
        token = read_secret_text(path)
    except SecretFileError as error:
        raise InvalidCall(f"{path}, the file of the token, {error}") from None
    except FileExistsError:  # another server was faster
        return token_of(file)
    except OSError as error:
        raise InvalidCall(f"{path}, the file of the token, cannot be made: {error.strerror}") from None
    if len(token) < LEAST_TOKEN_CHARS or not token.isascii() or not token.isprintable() or " " in token:
        least = LEAST_TOKEN_CHARS
        raise InvalidCall(f"{path} holds no token: at least {least} characters of ASCII; remove it to have one made")
    return token


def _listen(host: str, port: int) -> socket.socket:
    try:
        return listen(host, port)
    except OSError as error:
        raise InvalidCall(f"cannot listen at {host}:{port}: {why_not(error)}") from None
