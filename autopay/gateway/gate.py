"""Who is let in: the host name, other web pages, the token, and how many at once. Before anything reads a body."""

import hmac
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from autopay.client.paid_http import OWN_HEADERS_PREFIX
from autopay.client.problems import RETRY_AFTER_S, TYPE_PREFIX, Problem
from autopay.domain.policy.reach import is_loopback_name
from autopay.gateway.answers import problem_response

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

TOKEN_HEADER = f"{OWN_HEADERS_PREFIX}token".encode()
PREFIX_KEY = "autopay.prefix"
"""In the scope: the beginning of the path that held the token, for links that lead back here."""

TOKEN_IN_HEADER_KEY = "autopay.token_in_header"  # noqa: S105 - a name
"""In the scope: whether the caller sends the token in a header of ours, which clients send wherever they are led."""

MOST_AT_ONCE = 256

_PATH_TOKEN = re.compile(rb"/t/([^/]+)(/.*)")


class Gate:
    """Lets requests through to `app` without what proved that they may pass.

    Args:
        app: what answers.
        token: what callers have to show, as `Autopay-Token`, `Authorization: Bearer` or in the path `/t/TOKEN/...`;
            None: nothing.
        only_loopback: answer to loopback names only: a web page whose name is made to mean this machine (DNS
            rebinding) asks with its own.
        most_at_once: requests under way, streams among them.
    """

    def __init__(
        self, app: App, token: str | None, *, only_loopback: bool = True, most_at_once: int = MOST_AT_ONCE
    ) -> None:
        self._app = app
        self._token = None if token is None else token.encode()
        self._only_loopback = only_loopback
        self._free = most_at_once

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await problem_response(refusal)(scope, receive, send)
            return
        self._free -= 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._free += 1

    def _refusal(self, scope: Scope) -> Problem | None:
        """Why the request does not pass; else None, and its scope no longer has the token."""
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        hosts = [value for name, value in headers if name == b"host"]
        if self._only_loopback and not (len(hosts) == 1 and _is_loopback(hosts[0])):
            return _problem(
                421, "forbidden", "host_not_own", "this gateway answers to 127.0.0.1, localhost and [::1] only"
            )
        if any(_is_of_a_page(name, value) for name, value in headers):
            return _problem(403, "forbidden", "cross_origin", "web pages may not use this gateway")
        shown = _take_tokens(scope)
        if self._token is not None:
            proven = [each for each in shown if hmac.compare_digest(each, self._token)]
            if not proven:
                return _problem(
                    401,
                    "unauthorized",
                    "token_wrong" if shown else "token_missing",
                    "show the gateway's token: Authorization: Bearer TOKEN, Autopay-Token: TOKEN, or the path /t/TOKEN",
                )
            _drop_authorization(scope, self._token)
        if self._free <= 0:
            return _problem(503, "unreachable", "gateway_busy", "too many requests are under way in this gateway")
        return None


def _is_loopback(host: bytes) -> bool:
    try:
        name = urlsplit(f"//{host.decode('ascii')}").hostname
    except ValueError:
        return False
    return name is not None and is_loopback_name(name)


def _is_of_a_page(name: bytes, value: bytes) -> bool:
    """Whether a header says that a web page asks, be it one that a seller sent through this gateway's own door.

    `none` says that a person has typed the address.
    """
    return name == b"origin" or (name == b"sec-fetch-site" and value.lower() != b"none")


def _take_tokens(scope: Scope) -> list[bytes]:
    """Every token that the request shows, out of path and headers; a bearer's stays, as it may be the seller's."""
    shown: list[bytes] = []
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    found = _PATH_TOKEN.fullmatch(path)
    scope[PREFIX_KEY] = b""
    if found is not None:
        shown.append(found[1])
        scope[PREFIX_KEY] = b"/t/" + found[1]
        scope["raw_path"] = found[2]
        scope["path"] = "/" + scope["path"].split("/", 3)[3]
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    in_header = [value for name, value in headers if name == TOKEN_HEADER]
    scope[TOKEN_IN_HEADER_KEY] = bool(in_header)
    shown += in_header
    shown += [token for name, value in headers if name == b"authorization" and (token := _bearer(value))]
    scope["headers"] = [each for each in headers if each[0] != TOKEN_HEADER]
    return shown


def _drop_authorization(scope: Scope, token: bytes) -> None:
    """Take our own token out of Authorization: any other is the caller's for the seller."""
    scope["headers"] = [
        (name, value)
        for name, value in scope["headers"]
        if name != b"authorization" or not hmac.compare_digest(_bearer(value), token)
    ]


def _bearer(value: bytes) -> bytes:
    scheme, _, token = value.strip().partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else b""


def _problem(status: int, kind: str, rule: str, detail: str) -> Problem:
    titles = {401: "The gateway's token is needed", 403: "Not allowed", 421: "Not this gateway", 503: "Busy"}
    return Problem(
        type=f"{TYPE_PREFIX}{kind}",
        title=titles[status],
        status=status,
        detail=detail,
        rule=rule,
        retry_after_s=RETRY_AFTER_S if status == 503 else None,
    )
