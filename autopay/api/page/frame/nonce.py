"""A nonce for each view's script, and the Content-Security-Policy that asks for it."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from starlette.datastructures import MutableHeaders

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


class NonceMiddleware:
    """Sets `request.state.nonce`, where nothing in front has done so."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or "nonce" in scope.get("state", {}):
            await self._app(scope, receive, send)
            return
        nonce = secrets.token_urlsafe(18)
        scope.setdefault("state", {})["nonce"] = nonce

        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Content-Security-Policy"] = (
                    f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'self' 'nonce-{nonce}'; img-src 'self'"
                    " data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none';"
                    " require-trusted-types-for 'script'; trusted-types htmx"
                )
            await send(message)

        await self._app(scope, receive, send_with_policy)
