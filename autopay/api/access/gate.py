"""What every request passes before the application: as ASGI, so that no route can be forgotten.

In this order: the name it asks by, where it comes from, who sends it, how often, what it may do, and its body. An
action is every method but GET, HEAD and OPTIONS, and needs the scope `act`; all else needs `read`, but for `PUBLIC`.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from starlette.responses import RedirectResponse

from autopay.api.access.actor import Scope, Via
from autopay.api.access.bodies import MOST_BYTES, STRANGERS_BYTES, Receive, replayed, whole_body
from autopay.api.access.browsers import (
    CSRF_FIELD,
    CSRF_HEADER,
    refuse_forged_action,
    refuse_other_sites,
    refuse_simple_action,
    require_origin,
)
from autopay.api.access.callers import Caller, Callers, same_caller
from autopay.api.access.denials import Denial, Denied, denial
from autopay.api.access.headers import new_nonce, secured
from autopay.api.access.limits import RateLimits
from autopay.api.access.request_head import HttpScope, RequestHead, parameters
from autopay.api.access.sites import AllowedHosts, Site
from autopay.client.errors import named
from autopay.client.problems import problem_of
from autopay.domain.errors import Fault
from autopay.gateway.answers import problem_response

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[HttpScope, Receive, Send], Awaitable[None]]

LOGIN_PATH, LOGOUT_PATH = "/login", "/logout"
PUBLIC = frozenset({LOGIN_PATH, "/health", "/healthz", "/readyz", "/favicon.ico"})
PUBLIC_FOLDERS = ("/static/",)

RECHECK_S = 15.0
"""A stream ends this long after its caller's token or login has ended."""


class AccessGate:
    """Lets requests through to `app`; `request.state` then has `actor`, `caller`, `site`, `nonce` and `csrf_token`.

    Args:
        app: what answers.
        hosts: by which names it may be asked.
        callers: recognises them.
        limits: how often they may ask.
        most_bytes: of a body.
        recheck_s: how often the caller of a stream is recognised anew.
    """

    def __init__(
        self,
        app: App,
        hosts: AllowedHosts,
        callers: Callers,
        limits: RateLimits,
        *,
        most_bytes: int = MOST_BYTES,
        recheck_s: float = RECHECK_S,
    ) -> None:
        self._app = app
        self._hosts = hosts
        self._callers = callers
        self._limits = limits
        self._most_bytes = most_bytes
        self._recheck_s = recheck_s

    async def __call__(self, scope: HttpScope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # a WebSocket, which nothing here speaks
            await send({"type": "websocket.close", "code": 1008})
            return
        nonce = new_nonce()
        site: Site | None = None

        async def send_secured(message: Message) -> None:
            await send(secured(message, nonce, site))

        try:
            head = RequestHead(scope)
            site = self._hosts.site(head)
            caller, body = await self._let_in(head, site, receive)
        except Denied as denied:
            await _tell(denied.denial, scope, receive, send_secured)
            return
        except Fault as fault:
            await problem_response(problem_of(named(fault)))(scope, receive, send_secured)
            return
        known = {"actor": caller.actor, "caller": caller, "site": site, "nonce": nonce, "csrf_token": caller.csrf}
        scope["state"] = {**scope.get("state", {}), **known}
        try:
            answer = _Answer(send_secured)
            if await self._has_run(head, site, caller, (scope, replayed(body, receive), answer.send)):
                return
            if not answer.has_begun:
                await _tell(denial(401, "token_wrong", "this token has ended meanwhile"), scope, receive, send_secured)
            elif not answer.has_ended:
                await answer.send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._limits.leave(_counted_as(head, caller))

    async def _let_in(self, head: RequestHead, site: Site, receive: Receive) -> tuple[Caller, bytes]:
        """Who sends it, and its body; its place among those under way is taken.

        Raises:
            Denied: it is not let in.
            LedgerUnavailable: the ledger, which knows the tokens, does not answer.
        """
        refuse_other_sites(head, site)
        caller = await self._callers.recognise(head, site)
        counted_as = _counted_as(head, caller)
        self._limits.count_call(counted_as, is_action=head.is_action)
        _require_right(head, caller)
        most_bytes = self._most_bytes if caller.actor is not None else min(self._most_bytes, STRANGERS_BYTES)
        body = await whole_body(head, receive, most_bytes)
        _require_unforged(head, caller, body)
        self._limits.enter(counted_as)
        return caller, body

    async def _has_run(
        self, head: RequestHead, site: Site, caller: Caller, call: tuple[HttpScope, Receive, Send]
    ) -> bool:
        """Have the application answer. False when it was ended, as its caller may no longer read what it streams.

        An action is never ended: it was allowed when it was ordered.
        """
        is_rechecked = not head.is_action and caller.actor is not None and caller.actor.via is not Via.LOCAL
        answering = asyncio.ensure_future(self._app(*call))
        try:
            while not answering.done():
                await asyncio.wait([answering], timeout=self._recheck_s if is_rechecked else None)
                if not answering.done() and not await self._is_still(head, site, caller):
                    return False
            await answering
            return True
        finally:
            if not answering.done():
                answering.cancel()
                with suppress(asyncio.CancelledError):
                    await answering

    async def _is_still(self, head: RequestHead, site: Site, caller: Caller) -> bool:
        try:
            return same_caller(caller, await self._callers.recognise(head, site))
        except Denied:
            return False
        except Fault:  # nobody knows, and there is nothing to stream while the ledger does not answer
            return True


class _Answer:
    """How far an answer has been sent."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.has_begun = self.has_ended = False

    async def send(self, message: Message) -> None:
        """Send it on."""
        self.has_begun = self.has_begun or message["type"] == "http.response.start"
        self.has_ended = message["type"] == "http.response.body" and not message.get("more_body", False)
        await self._send(message)


def _counted_as(head: RequestHead, caller: Caller) -> str:
    return f"address/{head.network}" if caller.actor is None else caller.key


def _is_public(head: RequestHead) -> bool:
    return head.path in PUBLIC or (not head.is_action and head.path.startswith(PUBLIC_FOLDERS))


def _require_right(head: RequestHead, caller: Caller) -> None:
    if _is_public(head):
        return
    needed = Scope.ACT if head.is_action and head.path != LOGOUT_PATH else Scope.READ
    if caller.actor is None:
        how = "Authorization: Bearer TOKEN, with a token made by `token make`"
        why = "; the request came through a proxy" if head.is_from_proxy else ""
        denied = denial(401, "token_missing", f"show a token: {how}{why}")
        if head.wants_page:
            raise Denied(Denial(denied.problem, {"location": f"{LOGIN_PATH}?next={quote(head.path, safe='/')}"}))
        raise Denied(denied)
    if head.path != LOGOUT_PATH and not caller.actor.may(needed):
        raise Denied(denial(403, "scope_missing", f"{caller.actor.name} may not {needed}: its token lacks that scope"))


def _require_unforged(head: RequestHead, caller: Caller, body: bytes) -> None:
    if not head.is_action:
        return
    if head.path == LOGIN_PATH:  # nobody is recognised yet: that the server's own page asks is what counts
        require_origin(head)
        return
    via = None if caller.actor is None else caller.actor.via
    if via is Via.TOKEN:
        return
    if via is Via.LOCAL and not head.is_from_browser:
        refuse_simple_action(head)
        return
    refuse_forged_action(head, caller.csrf, head.header(CSRF_HEADER) or parameters(head, body).get(CSRF_FIELD))


async def _tell(denied: Denial, scope: HttpScope, receive: Receive, send: Send) -> None:
    if "location" in denied.headers:
        await RedirectResponse(denied.headers["location"], 303)(scope, receive, send)
        return
    await problem_response(denied.problem, denied.headers)(scope, receive, send)
