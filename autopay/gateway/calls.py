"""The calls in JSON: `POST /fetch`, a request by its id, and what an agent may spend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.requests import Request

from autopay.adapters.x402.checked_connection import require_askable
from autopay.client.errors import AutopayError, InvalidCall
from autopay.client.problems import problem_of
from autopay.client.requests.listener import Listener
from autopay.domain.values import Value
from autopay.gateway.answers import purchase_response
from autopay.gateway.bodies import whole
from autopay.gateway.orders import (
    MOST_TIMEOUT_S,
    Defaults,
    Wanted,
    agent_of,
    may_name,
    read_order,
    terms_of_headers,
    wanted_by_json,
)
from autopay.gateway.purchases import CallerGone, Purchases

if TYPE_CHECKING:
    from autopay.domain.policy.reach import Reach
    from autopay.domain.policy.records import ApprovalRecord

EVENTS_TYPE = "text/event-stream"
"""Accepted by a caller that wants to hear what its request waits for: events `progress`, `approval`, and at the end
`purchase` or `problem`."""

HEARTBEAT_S = 15.0
MOST_PURCHASES = 1_000


class Calls:
    """The calls, by one gateway's backend."""

    def __init__(self, purchases: Purchases, defaults: Defaults, reach: Reach) -> None:
        self._purchases = purchases
        self._backend = purchases.backend
        self._defaults = defaults
        self._reach = reach

    def router(self) -> APIRouter:
        """The paths."""
        router = APIRouter()
        router.add_api_route("/fetch", self.fetch, methods=["POST"])
        router.add_api_route("/quote", self.quote, methods=["POST"])
        router.add_api_route("/requests/{request_id}", self.result, methods=["GET"])
        router.add_api_route("/requests/{request_id}/cancel", self.cancel, methods=["POST"])
        router.add_api_route("/purchases", self.list_purchases, methods=["GET"])
        router.add_api_route("/budget", self.budget, methods=["GET"])
        router.add_api_route("/agents", self.agents, methods=["GET"])
        router.add_api_route("/approvals", self.approvals, methods=["GET"])
        router.add_api_route("/pause", self.pause, methods=["POST"])
        router.add_api_route("/resume", self.resume, methods=["POST"])
        return router

    async def fetch(self, request: Request) -> Response:
        """Buy what the JSON says."""
        wanted = await self._wanted(request)
        accept = request.headers.get("accept", "*/*")
        if accept.partition(";")[0].strip().lower() == EVENTS_TYPE:
            return StreamingResponse(self._events(request, wanted), media_type=EVENTS_TYPE)
        return purchase_response(await self._purchases.buy(request, wanted), accept)

    async def quote(self, request: Request) -> Response:
        """What it would cost."""
        wanted = await self._wanted(request)
        asking = self._backend.quote(wanted.agent, wanted.ask)
        return _json(await self._purchases.while_wanted(request, asking))

    async def result(self, request: Request, request_id: str) -> Response:
        """How a request stands."""
        agent = self._agent(request)
        wait_s = _number(request, "wait", 0.0, most=MOST_TIMEOUT_S)
        asking = self._backend.result(agent, request_id, wait_s)
        found = await self._purchases.while_wanted(request, asking)
        if found is None:
            raise InvalidCall(f"agent {agent!r} has no request {request_id[:130]!r}", "unknown_request")
        return purchase_response(found, request.headers.get("accept", "*/*"))

    async def cancel(self, request: Request, request_id: str) -> Response:
        """Pay nothing more for it than is signed."""
        await self._backend.cancel(self._agent(request), request_id)
        return Response(status_code=202)

    async def list_purchases(self, request: Request) -> Response:
        """The agent's payments."""
        since = request.query_params.get("since")
        host = request.query_params.get("host")
        limit = int(_number(request, "limit", 50, most=MOST_PURCHASES, least=1))
        moment = None if since is None else _moment(since)
        return _json(await self._backend.purchases(self._agent(request), moment, host, limit))

    async def budget(self, request: Request) -> Response:
        """What the agent may spend."""
        return _json(await self._backend.budget(self._agent(request)))

    async def agents(self) -> Response:
        """All agents that callers may name."""
        return _json([each for each in await self._backend.agents() if may_name(each.agent, self._defaults)])

    async def approvals(self, request: Request) -> Response:
        """The payments that wait for a person, to be read: deciding is not for callers of a gateway."""
        return _json(await self._backend.approvals(self._agent(request)))

    async def pause(self, request: Request) -> Response:
        """Let the agent start nothing new."""
        await self._backend.pause(self._agent(request), request.query_params.get("reason"))
        return Response(status_code=202)

    async def resume(self, request: Request) -> Response:
        """Let it go on."""
        await self._backend.resume(self._agent(request))
        return Response(status_code=202)

    async def _wanted(self, request: Request) -> Wanted:
        order = read_order(await whole(request))
        wanted = wanted_by_json(order, terms_of_headers(request.headers), self._defaults)
        require_askable(wanted.ask.url, self._reach)
        return wanted

    def _agent(self, request: Request) -> str:
        terms = terms_of_headers(request.headers)
        named = request.query_params.get("agent")
        if named is not None and terms.agent is not None and named != terms.agent:
            raise InvalidCall("agent is given in the headers and in the URL: give it once")
        return agent_of(terms if named is None else terms.model_copy(update={"agent": named}), self._defaults)

    async def _events(self, request: Request, wanted: Wanted) -> AsyncIterator[str]:
        """What it waits for, and the purchase."""
        told: asyncio.Queue[str | None] = asyncio.Queue()

        def on_approval(approval: ApprovalRecord) -> None:
            told.put_nowait(_event("approval", approval))

        def on_progress(text: str) -> None:
            told.put_nowait(_event("progress", _Progress(text=text)))

        buying = asyncio.create_task(self._end(request, wanted, Listener(on_approval, on_progress)))
        buying.add_done_callback(lambda _: told.put_nowait(None))
        try:
            while True:
                try:
                    async with asyncio.timeout(HEARTBEAT_S):
                        event = await told.get()
                except TimeoutError:
                    event = ": still waiting\n\n"
                if event is None:
                    yield buying.result()
                    return
                yield event
        finally:
            buying.cancel()

    async def _end(self, request: Request, wanted: Wanted, listener: Listener) -> str:
        try:
            return _event("purchase", await self._purchases.buy(request, wanted, listener))
        except AutopayError as error:
            return _event("problem", problem_of(error))
        except CallerGone:
            return ""


class _Progress(Value):
    text: str


def _event(name: str, value: Value) -> str:
    return f"event: {name}\ndata: {value.model_dump_json()}\n\n"


def _json(value: Any) -> Response:
    if isinstance(value, Value):
        return JSONResponse(value.model_dump(mode="json"))
    return JSONResponse([each.model_dump(mode="json") for each in value])


def _number(request: Request, name: str, otherwise: float, *, most: float, least: float = 0) -> float:
    text = request.query_params.get(name)
    if text is None:
        return otherwise
    return _checked(name, text, lambda: float(text), least, most)


def _checked(name: str, text: str, parse: Callable[[], float], least: float, most: float) -> float:
    try:
        number = parse()
    except ValueError:
        number = -1
    if not least <= number <= most:
        raise InvalidCall(f"{name}: {text[:60]!r} is not a number from {least:g} to {most:g}")
    return number


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidCall(f"since: {text[:60]!r} is not a time like 2026-01-31T12:00:00Z") from None
    if moment.tzinfo is None:
        raise InvalidCall("since: give the time with its zone, like 2026-01-31T12:00:00Z")
    return moment
