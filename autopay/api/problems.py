"""Every error as problem details (RFC 9457), with the status that fits it: also unknown paths and wrong arguments."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from autopay.client.errors import AutopayError, named
from autopay.client.problems import TYPE_PREFIX, Problem, problem_of
from autopay.domain.errors import ContentPruned, CursorLost, Fault, SettingsError, stable_name
from autopay.domain.values import validation_message
from autopay.gateway.answers import error_response, problem_response

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

logger = logging.getLogger(__name__)

MOST_ERRORS = 20
"""Wrong arguments that are named in one answer."""

_TEXT = {"type": "string"}
_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "rule"],
    "properties": {
        "type": {**_TEXT, "description": "Its kind, for programs that treat all of a kind alike."},
        "title": _TEXT,
        "status": {"type": "integer"},
        "detail": {**_TEXT, "description": "What is wrong, and what to do."},
        "rule": {**_TEXT, "description": "The stable name of the one reason."},
        "id": {**_TEXT, "description": "Of a purchase: the request's id; the same call with it goes on."},
        "agent": _TEXT,
        "receipt": {"type": "object", "description": "Of a purchase: what was paid."},
        "errors": {"type": "array", "items": {"type": "object"}, "description": "Which arguments are wrong, and why."},
    },
    "example": {
        "type": "urn:autopay:invalid-call",
        "title": "What was asked for cannot be",
        "status": 404,
        "detail": "there is no agent 'trader'; see: autopay agents",
        "rule": "unknown_agent",
    },
}
_CONTENT = {"application/problem+json": {"schema": _PROBLEM}}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "What was asked for cannot be: `rule` names the reason.", "content": _CONTENT},
    "5XX": {"description": "It did not work: what is unreachable may work in a moment.", "content": _CONTENT},
}
"""The answers of every route beside its own, as the OpenAPI document has them."""

_TITLES = {
    400: "The request cannot be understood",
    401: "A token is needed",
    403: "This is not allowed",
    404: "There is nothing here",
    405: "Another method is needed",
    413: "This is too large",
    415: "Another content type is needed",
    421: "This server has another name",
    429: "Too many requests",
}


def problem(status: int, rule: str, detail: str, *, title: str | None = None) -> Problem:
    """A problem of the HTTP request itself; `rule` is its stable name."""
    return Problem(
        type=f"{TYPE_PREFIX}{rule.replace('_', '-')}",
        title=title or _TITLES.get(status, "The request failed"),
        status=status,
        detail=detail,
        rule=rule,
    )


def tell_problems(app: FastAPI, view: Callable[[Request, int, str, str], Response]) -> None:
    """Have the application answer every error with a problem.

    Args:
        app: the application.
        view: makes the page that tells a person of status, title and detail: for an address that is nowhere.
    """

    async def tell_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == 404 and _is_for_a_person(request):
            return view(request, 404, _TITLES[404], "This page has no such address.")
        return _http_problem(request, error)

    app.add_exception_handler(AutopayError, _tell_error)
    app.add_exception_handler(Fault, _tell_fault)
    app.add_exception_handler(SettingsError, _tell_fault)
    app.add_exception_handler(RequestValidationError, _tell_wrong)
    app.add_exception_handler(HTTPException, tell_http)
    app.add_exception_handler(Exception, _tell_bug)


async def _tell_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, AutopayError)
    return error_response(error)


async def _tell_fault(_: Request, error: Exception) -> Response:
    assert isinstance(error, Fault | SettingsError)
    if isinstance(error, CursorLost | ContentPruned):
        rule = stable_name(type(error).__name__)
        return problem_response(problem(410, rule, str(error), title="What was asked for is gone"))
    return problem_response(problem_of(named(error)))


async def _tell_wrong(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    wrong = [_wrong(each) for each in error.errors()[:MOST_ERRORS]]
    detail = "; ".join(f"{each['in']}: {each['problem']}" for each in wrong)
    found = problem(422, "invalid_arguments", detail, title="An argument is not valid")
    return problem_response(found, members={"errors": wrong})


def _is_for_a_person(request: Request) -> bool:
    """Whether a browser asks for a page."""
    is_page = not request.url.path.startswith(("/api/", "/static/"))
    return is_page and "text/html" in request.headers.get("accept", "")


def _http_problem(request: Request, error: HTTPException) -> Response:
    details = {404: ("unknown_path", "there is no such path"), 405: ("wrong_method", "not for this path")}
    rule, detail = details.get(error.status_code, ("http_error", str(error.detail)))
    shown = ascii(request.url.path[:100])[1:-1]
    told = f"{request.method} {shown}: {detail}" if error.status_code in details else detail
    return problem_response(problem(error.status_code, rule, told), dict(error.headers or {}))


async def _tell_bug(request: Request, error: Exception) -> Response:
    logger.error("%s %s failed", request.method, request.url.path[:100], exc_info=error)
    return problem_response(
        problem(500, "bug", "an error that nobody foresaw; the log of `serve` has it", title="The server failed")
    )


def _wrong(error: Any) -> dict[str, str]:
    """Which argument is wrong, and why; what was given is not repeated."""
    place: Sequence[object] = error["loc"]
    return {"in": ".".join(ascii(str(each)[:60])[1:-1] for each in place), "problem": validation_message(error)}
