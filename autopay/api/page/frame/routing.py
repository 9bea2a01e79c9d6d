"""Routes of the page: what goes wrong is a view as well, never a problem in JSON."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from autopay.api.page.frame.shell import Shell
from autopay.api.page.frame.templating import render
from autopay.client.errors import AutopayError, named
from autopay.client.problems import problem_of
from autopay.domain.errors import Fault, SettingsError

UNKNOWN_SHELL = Shell(cursor="0:0", approvals=0, disputes=0, sessions_ending=0, network_text="")


class PageRoute(APIRoute):
    """A route whose errors are views."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with what it raises rendered."""
        handle = super().get_route_handler()

        async def handle_as_page(request: Request) -> Response:
            try:
                return await handle(request)
            except (AutopayError, Fault, SettingsError) as error:
                found = problem_of(error if isinstance(error, AutopayError) else named(error))
                return problem_view(request, found.status, found.title, found.detail)
            except RequestValidationError:
                return problem_view(request, 422, "This address cannot be understood", "Go back to the overview.")
            except HTTPException as error:
                return problem_view(request, error.status_code, "There is nothing here", str(error.detail))

        return handle_as_page


def problem_view(request: Request, status: int, title: str, detail: str) -> Response:
    """What is wrong, within the frame; it does not ask the ledger, which may be what is wrong."""
    return render(request, "problem.html", UNKNOWN_SHELL, status=status, live=False, title=title, detail=detail)
