"""The client's work through an HTTP gateway, for programs without access to ledger and Temporal."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, NoReturn, TypeVar
from urllib.parse import quote

import httpx
from pydantic import TypeAdapter, ValidationError

from autopay.client.errors import AutopayError, CallFailed, InvalidCall, Misconfigured, Unreachable
from autopay.client.problems import PROBLEM_TYPE, Problem, error_of
from autopay.client.requests.listener import NOBODY, Listener
from autopay.client.values import Ask, Budget, PaymentSummary, Purchase, Quote, units
from autopay.domain.policy.records import ApprovalRecord
from autopay.domain.request import CLOSED
from autopay.domain.values import validation_message

PURCHASE_TYPE = "application/vnd.autopay+json"
EVENTS_TYPE = "text/event-stream"

CALL_S = 25.0
"""The gateway is asked to wait at most so long at a time: connections that are silent for longer are cut on the way."""

ANSWER_S = 30.0
"""For its answer beyond that."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 5.0
LEAST_PATIENCE_S = 15.0
"""A gateway that does not answer is asked again for so long at least: it may be starting anew."""

T = TypeVar("T")


class GatewayBackend:
    """Implements `Backend` by a gateway's API.

    A call whose connection is lost is made again with the same id until its time is up: it never pays twice.

    Args:
        url: of the gateway: `http://127.0.0.1:8405`.
        token: what the gateway wants to be shown, if anything.
        transport: in place of the network, for tests.

    Raises:
        Misconfigured: that is no http(s) URL.
    """

    def __init__(self, url: str, token: str | None = None, transport: httpx.AsyncBaseTransport | None = None) -> None:
        base = url.strip().rstrip("/")
        if not base.startswith(("http://", "https://")):
            raise Misconfigured(f"{base[:100]!r} is not a gateway's address like http://127.0.0.1:8405")
        self._url = base
        self._http = httpx.AsyncClient(
            base_url=base,
            headers={"Autopay-Token": token} if token else {},
            timeout=httpx.Timeout(CALL_S + ANSWER_S, connect=5),
            trust_env=False,  # no proxy and no .netrc that nobody thought of
            follow_redirects=False,
            transport=transport,
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    async def buy(self, agent: str, ask: Ask, listener: Listener = NOBODY) -> Purchase:
        """See the port. The gateway is asked for a part of the time at once, again and again."""
        deadline = time.monotonic() + ask.timeout_s
        patience = _Patience(ask.timeout_s)
        heard = _Heard(listener)
        while True:
            left_s = max(deadline - time.monotonic(), 0)
            order = {**_order_of(ask), "agent": agent, "timeout": min(left_s, CALL_S)}
            try:
                purchase = await self._fetch(order, heard)
            except _TryAgain as lost:
                await patience.pause(lost.error)
                continue
            if purchase.status in CLOSED or time.monotonic() >= deadline:
                return purchase

    async def quote(self, agent: str, ask: Ask) -> Quote:
        """See the port."""
        order = {name: value for name, value in _order_of(ask).items() if name not in ("id", "max_age")}
        return _read(Quote, await self._again("POST", "/quote", json={**order, "agent": agent}))

    async def result(self, agent: str, request_id: str, wait_s: float) -> Purchase | None:
        """See the port."""
        deadline = time.monotonic() + wait_s
        while True:
            left_s = max(deadline - time.monotonic(), 0)
            parameters = {"agent": agent, "wait": f"{min(left_s, CALL_S):.3f}"}
            path = f"/requests/{quote(request_id, safe='')}"
            try:
                content = await self._again("GET", path, params=parameters, headers={"Accept": PURCHASE_TYPE})
            except InvalidCall as error:
                if error.type == "unknown_request":
                    return None
                raise
            found = _read(Purchase, content)
            if found.status in CLOSED or time.monotonic() >= deadline:
                return found

    async def purchases(
        self, agent: str, since: datetime | None, host: str | None, limit: int
    ) -> Sequence[PaymentSummary]:
        """See the port."""
        given = {"agent": agent, "since": since and since.isoformat(), "host": host, "limit": str(limit)}
        parameters = {name: value for name, value in given.items() if value is not None}
        return _read(list[PaymentSummary], await self._again("GET", "/purchases", params=parameters))

    async def budget(self, agent: str) -> Budget:
        """See the port."""
        return _read(Budget, await self._again("GET", "/budget", params={"agent": agent}))

    async def agents(self) -> Sequence[Budget]:
        """See the port."""
        return _read(list[Budget], await self._again("GET", "/agents"))

    async def pause(self, agent: str, reason: str | None) -> None:
        """See the port."""
        await self._again("POST", "/pause", params={"agent": agent} | ({"reason": reason} if reason else {}))

    async def resume(self, agent: str) -> None:
        """See the port."""
        await self._again("POST", "/resume", params={"agent": agent})

    async def cancel(self, agent: str, request_id: str) -> None:
        """See the port."""
        await self._again("POST", f"/requests/{quote(request_id, safe='')}/cancel", params={"agent": agent})

    async def approvals(self, agent: str) -> Sequence[ApprovalRecord]:
        """See the port."""
        return _read(list[ApprovalRecord], await self._again("GET", "/approvals", params={"agent": agent}))

    async def decide(self, approval_id: str, *, approve: bool) -> bool:
        """Never over a gateway.

        Raises:
            InvalidCall: always.
        """
        what = "approve" if approve else "deny"
        raise InvalidCall(
            f"nothing is decided over a gateway: run `autopay {what} {approval_id}` where the ledger is",
            "not_over_gateway",
        )

    async def _fetch(self, order: dict[str, Any], heard: _Heard) -> Purchase:
        """One call of `POST /fetch`, to its end or as far as its time goes."""
        if not heard.wants_events:
            answer = await self._send("POST", "/fetch", json=order, headers={"Accept": PURCHASE_TYPE})
            return _read(Purchase, answer)
        async with (
            self._named(),
            self._http.stream("POST", "/fetch", json=order, headers={"Accept": EVENTS_TYPE}) as response,
        ):
            if not response.is_success:
                _refuse(response, await response.aread())
            async for name, data in _events(response):
                if name == "purchase":
                    return _read(Purchase, data)
                if name == "problem":
                    _raise(_read(Problem, data))
                heard.hear(name, data)
        raise _TryAgain(Unreachable(f"the gateway {self._url} has ended its answer before the end", "gateway_lost"))

    async def _again(self, method: str, path: str, **arguments: Any) -> bytes:
        """One call that may be made twice, made again while the gateway does not answer."""
        patience = _Patience(0)
        while True:
            try:
                return await self._send(method, path, **arguments)
            except _TryAgain as lost:
                await patience.pause(lost.error)

    async def _send(self, method: str, path: str, **arguments: Any) -> bytes:
        async with self._named():
            response = await self._http.request(method, path, **arguments)
            if not response.is_success:
                _refuse(response, response.content)
            return response.content

    @asynccontextmanager
    async def _named(self) -> AsyncIterator[None]:
        """Turns what can go wrong between here and the gateway into `_TryAgain` or an `AutopayError`."""
        try:
            yield
        except httpx.TransportError as error:
            message = f"the gateway {self._url} does not answer: {type(error).__name__}"
            raise _TryAgain(Unreachable(message, "gateway_unavailable")) from error
        except httpx.InvalidURL as error:
            raise Misconfigured(f"{self._url[:100]!r} is not a gateway's address: {error}") from None


class _TryAgain(Exception):
    """The same call may work in a moment; `error` is what to say when time is up."""

    def __init__(self, error: AutopayError) -> None:
        super().__init__(str(error))
        self.error = error


class _Patience:
    """How long, and how often, a gateway is asked again."""

    def __init__(self, timeout_s: float) -> None:
        self._until = time.monotonic() + max(timeout_s, LEAST_PATIENCE_S)
        self._pause_s = FIRST_PAUSE_S

    async def pause(self, error: AutopayError) -> None:
        """Wait a moment; raise the error when it has been long enough."""
        if time.monotonic() + self._pause_s > self._until:
            raise error from None
        await asyncio.sleep(self._pause_s)
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)


class _Heard:
    """Tells a listener each thing once, however often the gateway is asked."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._last = ""
        self._approvals = set[str]()
        self.wants_events = listener.on_approval is not None or listener.on_progress is not None

    def hear(self, name: str, data: str) -> None:
        """An event of the gateway's."""
        if name == "progress" and self._listener.on_progress is not None:
            text = str(_read(dict[str, Any], data).get("text", ""))
            if text != self._last:
                self._last = text
                self._listener.on_progress(text)
        if name == "approval" and self._listener.on_approval is not None:
            approval = _read(ApprovalRecord, data)
            if str(approval.approval_id) not in self._approvals:
                self._approvals.add(str(approval.approval_id))
                self._listener.on_approval(approval)


def _order_of(ask: Ask) -> dict[str, Any]:
    """The JSON of what is to be bought."""
    return {
        "id": ask.id,
        "url": ask.url,
        "method": ask.method,
        "headers": ask.headers,
        **({} if ask.content is None else {"content": base64.b64encode(ask.content).decode()}),
        **({} if ask.max_price_atomic is None else {"max_price": f"{units(ask.max_price_atomic):f}"}),
        **({} if ask.currency is None else {"currency": ask.currency.value}),
        **({} if ask.max_age_s is None else {"max_age": ask.max_age_s}),
    }


async def _events(response: httpx.Response) -> AsyncIterator[tuple[str, str]]:
    """The events of a stream; of those that we send, each has one line of data."""
    name = ""
    async for line in response.aiter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, line.removeprefix("data: ")


def _read(kind: type[T], content: bytes | str) -> T:
    """What the gateway says, as that type."""
    try:
        return TypeAdapter(kind).validate_json(content)
    except ValidationError as error:
        wrong = validation_message(error.errors()[0])
        raise CallFailed(f"what is asked does not answer as a gateway of this version: {wrong}") from None


def _refuse(response: httpx.Response, content: bytes) -> NoReturn:
    """Raise what the gateway answers instead."""
    if response.headers.get("content-type", "").partition(";")[0] == PROBLEM_TYPE:
        _raise(_read(Problem, content))
    status = response.status_code
    error = Unreachable(f"the gateway, or what is before it, answers HTTP {status}", "gateway_unavailable")
    if status in (502, 503, 504):
        raise _TryAgain(error)
    raise CallFailed(f"{response.url.host} does not answer as a gateway: HTTP {status}")


def _raise(problem: Problem) -> NoReturn:
    error = error_of(problem)
    if problem.rule in ("gateway_stopping", "gateway_busy"):
        raise _TryAgain(error)
    raise error
