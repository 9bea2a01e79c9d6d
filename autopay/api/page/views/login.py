"""`/login`: a browser shows its token once, and has a cookie from then on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from autopay.api.access.routes import is_local, own_path
from autopay.api.page.frame.routing import UNKNOWN_SHELL, PageRoute
from autopay.api.page.frame.templating import render

if TYPE_CHECKING:
    from autopay.api.access.denials import Denied

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/login")
async def login(request: Request, goes_on: Annotated[str, Query(alias="next", max_length=2000)] = "/") -> Response:
    """The form; on this machine, where no token is needed, the overview."""
    return RedirectResponse("/", 303) if is_local(request) else _form(request, goes_on)


async def refused_login(request: Request, denied: Denied) -> Response:
    """The form again, with why the token was refused."""
    goes_on = str((await request.form()).get("next", "/"))
    return _form(request, goes_on, denied.denial.problem.status, denied.denial.problem.detail)


def _form(request: Request, goes_on: str, status: int = 200, wrong: str = "") -> Response:
    return render(
        request, "login.html", UNKNOWN_SHELL, status=status, live=False, goes_on=own_path(goes_on), wrong=wrong
    )
