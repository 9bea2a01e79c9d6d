"""The gateway as an ASGI app."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from autopay.adapters.x402.checked_connection import NotAllowed, Resolver, resolve
from autopay.client.errors import AutopayError, InvalidCall
from autopay.client.problems import problem_of
from autopay.gateway.answers import error_response, not_found, problem_response
from autopay.gateway.calls import Calls
from autopay.gateway.door import Door
from autopay.gateway.gate import MOST_AT_ONCE, Gate
from autopay.gateway.purchases import CallerGone, GatewayStopping, Purchases

if TYPE_CHECKING:
    from autopay.client.backend import Backend
    from autopay.domain.policy.reach import Reach
    from autopay.gateway.orders import Defaults

DOOR_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
PATHS = ("/fetch", "/quote", "/requests/ID", "/purchases", "/budget", "/agents", "/approvals", "/pause", "/resume")
CLIENT_CLOSED = 499


class GatewayApp:
    """An ASGI app, and what ends it.

    Args:
        backend: does the work.
        defaults: for callers that say nothing.
        reach: which sellers may be asked, by the door and by name.
        token: what callers have to show; None: nothing.
        only_loopback: answer to loopback names only.
        most_at_once: requests under way.
        resolve: names to addresses.
    """

    def __init__(
        self,
        backend: Backend,
        defaults: Defaults,
        reach: Reach,
        *,
        token: str | None,
        only_loopback: bool = True,
        most_at_once: int = MOST_AT_ONCE,
        resolve: Resolver = resolve,
    ) -> None:
        self.purchases = Purchases(backend)
        self._door = Door(self.purchases, defaults, reach, resolve)
        api = _api(Calls(self.purchases, defaults, reach), self._door)
        self.asgi = Gate(api, token, only_loopback=only_loopback, most_at_once=most_at_once)

    def stop(self) -> None:
        """Tell those who wait that they shall ask again, after a moment in which most get their answers."""
        self.purchases.stopping.set()

    async def close(self) -> None:
        """Close every connection to sellers, and the backend's."""
        await self._door.close()
        await self.purchases.backend.close()


def _api(calls: Calls, door: Door) -> FastAPI:
    api = FastAPI(title="Autopay gateway", openapi_url=None)
    api.include_router(calls.router())
    api.add_api_route("/p/{target:path}", door.answer, methods=DOOR_METHODS)
    api.add_api_route("/health", _health, methods=["GET"])
    api.add_exception_handler(AutopayError, _tell_error)
    api.add_exception_handler(NotAllowed, _tell_not_allowed)
    api.add_exception_handler(HTTPException, _tell_http)
    api.add_exception_handler(CallerGone, _tell_nobody)
    return api


async def _health() -> Response:
    return JSONResponse({"status": "ok"})


async def _tell_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, AutopayError)
    return error_response(error, is_retryable=not isinstance(error, GatewayStopping) or error.has_key)


async def _tell_not_allowed(_: Request, error: Exception) -> Response:
    assert isinstance(error, NotAllowed)
    return problem_response(problem_of(InvalidCall(str(error), error.refused.reason.value)))


async def _tell_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    problem = not_found(request.url.path, (*PATHS, "/p/https/HOST/PATH"))
    if error.status_code == 405:
        change = {"status": 405, "title": "Another method is needed", "rule": "wrong_method"}
        problem = problem.model_copy(update={**change, "detail": f"{request.method} is not for this path"})
    return problem_response(problem, dict(error.headers or {}))


async def _tell_nobody(_: Request, __: Exception) -> Response:
    return Response(status_code=CLIENT_CLOSED)
