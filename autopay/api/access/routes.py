"""POST /login and /logout; and what routes ask of a caller: `require(Scope.ACT)`."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Annotated, cast

from fastapi import APIRouter, Depends, FastAPI, Form
from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response

from autopay.api.access.access import Access
from autopay.api.access.actor import Actor, Scope, Via
from autopay.api.access.callers import Caller, actor_of, cookie_name
from autopay.api.access.denials import Denied, denial
from autopay.api.access.gate import LOGIN_PATH, LOGOUT_PATH
from autopay.api.access.orders import ordered
from autopay.api.access.request_head import RequestHead
from autopay.api.access.sites import Site
from autopay.gateway.answers import problem_response

logger = logging.getLogger(__name__)

LOGIN_S = 12 * 3600
"""A browser has to show its token again after this."""

TellWrong = Callable[[Request, Denied], Awaitable[Response]]
"""Shows the page of the login again, with why it was refused."""


def caller_of(connection: HTTPConnection) -> Actor:
    """Who calls.

    Raises:
        Denied: nobody that is recognised.
    """
    actor = getattr(connection.state, "actor", None)
    if actor is None:
        raise Denied(denial(401, "token_missing", "show a token: Authorization: Bearer TOKEN"))
    return cast(Actor, actor)


def require(scope: Scope) -> Callable[[HTTPConnection], Actor]:
    """A dependency of a route: gives the caller, who has that scope. The gate has asked for it as well, by method."""

    def checked(connection: HTTPConnection) -> Actor:
        actor = caller_of(connection)
        if not actor.may(scope):
            raise Denied(denial(403, "scope_missing", f"{actor.name} may not {scope}: its token lacks that scope"))
        return actor

    return checked


Reader = Annotated[Actor, Depends(require(Scope.READ))]
"""A route's argument that is a caller who may read."""

Operator = Annotated[Actor, Depends(require(Scope.ACT))]
"""A route's argument that is a caller who may act."""


def tell_denials(app: FastAPI) -> None:
    """Have the application answer a `Denied` with its problem."""
    app.add_exception_handler(Denied, _tell_denied)


async def _tell_denied(_: Request, error: Exception) -> Response:
    assert isinstance(error, Denied)
    return problem_response(error.denial.problem, error.denial.headers)


def login_router(access: Access, tell_wrong: TellWrong | None = None) -> APIRouter:
    """The routes by which browsers come and go; `GET /login` is the page's."""
    router = APIRouter(include_in_schema=False)
    tokens = access.ledger.tokens

    @router.post(LOGIN_PATH)
    async def log_in(
        request: Request,
        token: Annotated[str, Form(max_length=200)] = "",
        goes_on: Annotated[str, Form(alias="next", max_length=2000)] = "/",
    ) -> Response:
        if not access.tokens_required and is_local(request):
            return RedirectResponse("/", 303)
        head, site = RequestHead(request.scope), cast(Site, request.state.site)
        try:
            found = await access.callers.token(head, token.strip())
        except Denied as denied:
            logger.warning("a login from %s was refused: %s", head.address, denied.denial.problem.rule)
            return await (tell_wrong or _tell_denied)(request, denied)
        async with ordered(access.ledger, actor_of(found, Via.PAGE), "login"):
            made = await tokens.log_in(found.token_id, LOGIN_S)
        if made is None:  # it ended meanwhile
            raise Denied(denial(401, "token_wrong", "this token is unknown, has expired or was revoked"))
        before = cast(Caller, request.state.caller).login_id
        if before is not None:
            await tokens.log_out(before)
        answer = RedirectResponse(own_path(goes_on), 303)
        answer.set_cookie(
            cookie_name(site),
            made[1],
            max_age=LOGIN_S,
            path="/",
            secure=site.is_https,
            httponly=True,
            samesite="strict",
        )
        return answer

    @router.post(LOGOUT_PATH)
    async def log_out(request: Request) -> Response:
        caller, site = cast(Caller, request.state.caller), cast(Site, request.state.site)
        if caller.login_id is not None and caller.actor is not None:
            async with ordered(access.ledger, caller.actor, "logout"):
                await tokens.log_out(caller.login_id)
        answer = RedirectResponse(LOGIN_PATH, 303)
        answer.delete_cookie(cookie_name(site), path="/", secure=site.is_https, httponly=True, samesite="strict")
        return answer

    return router


def is_local(request: Request) -> bool:
    """Whether it is somebody on this machine, who needs no token."""
    actor = getattr(request.state, "actor", None)
    return actor is not None and actor.via is Via.LOCAL


def own_path(text: str) -> str:
    """The path within this site that somebody wants to go on to; the first page for everything else."""
    is_own = text.startswith("/") and not text.startswith(("//", "/\\")) and text.isprintable() and text.isascii()
    return text if is_own and "\\" not in text else "/"
