"""The reverse door `/p/https/host/path`: for programs that only know a base URL.

Whatever a seller answers goes through as it comes. Only a 402 that is an x402 demand goes to an agent, and what that
buys comes whole. With an Idempotency-Key the ledger is asked before the seller.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

import httpx
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from autopay.adapters.x402.checked_connection import CheckedTransport, Resolver, require_askable, resolve
from autopay.adapters.x402.content import decode
from autopay.adapters.x402.decoding import read_json
from autopay.client.async_client import delivered
from autopay.client.errors import InvalidCall, NotBought, PurchaseRefused, Unreachable
from autopay.client.paid_http import MOST_DEMAND_BYTES, carries_payment, is_x402_demand
from autopay.client.problems import problem_of
from autopay.client.values import Purchase
from autopay.domain.policy.reach import Reach
from autopay.domain.text.hosts import host_of
from autopay.gateway.answers import error_response, problem_response, purchase_response, receipt_headers
from autopay.gateway.bodies import joined, split
from autopay.gateway.orders import Defaults, Terms, Wanted, agent_of, terms_of_headers, wanted_of
from autopay.gateway.purchases import Purchases
from autopay.gateway.targets import RawHeaders, headers_for_agent, headers_passed_on, headers_to_caller, target_url
from autopay.transport.demand import MAX_BODY_BYTES, not_payable

CONNECTIONS, KEPT_ALIVE = 256, 32
TIMEOUT = {"connect": 10.0, "read": 600.0, "write": 60.0, "pool": 10.0}
"""Seconds; `read` is between two pieces of an answer, and a model may think for minutes."""

DEMAND_TIMEOUT_S = 30.0
_DEMAND_MEMBERS = ("x402Version", "accepts", "error", "resource", "extensions")
_REPLACED = frozenset((b"content-length", b"content-type", b"content-encoding", b"etag", b"last-modified"))
"""Of a 402's headers: about the body that a problem takes the place of."""


class _Call(NamedTuple):
    """One request through the door; `content` is None where it is too long to be sent again."""

    request: Request
    url: str
    terms: Terms
    headers: RawHeaders
    content: bytes | None
    rest: AsyncIterator[bytes] | None
    beginning: bytes


class _Demand(NamedTuple):
    """The seller's 402."""

    headers: RawHeaders
    body: bytes


class Door:
    """Answers what comes through it.

    Args:
        purchases: buys what is to be paid.
        defaults: for callers that say nothing.
        reach: which sellers may be asked.
        resolve: names to addresses.
    """

    def __init__(self, purchases: Purchases, defaults: Defaults, reach: Reach, resolve: Resolver = resolve) -> None:
        self._purchases = purchases
        self._defaults = defaults
        self._reach = reach
        self._transport = CheckedTransport(reach, resolve, connections=CONNECTIONS, kept_alive=KEPT_ALIVE)

    async def close(self) -> None:
        """Close every connection to sellers."""
        await self._transport.aclose()

    async def answer(self, request: Request) -> Response:
        """The seller's answer, or what was bought.

        Raises:
            AutopayError, NotAllowed: neither.
        """
        url = target_url(request.scope)
        require_askable(url, self._reach)
        terms = terms_of_headers(request.headers)
        beginning, rest = await split(request.stream(), MAX_BODY_BYTES)
        content = beginning if rest is None else None
        call = _Call(request, url, terms, headers_passed_on(request.scope), content, rest, beginning)
        if terms.id is not None and await self._is_known(call):
            return await self._bought(call, None)
        return await self._asked(call)

    async def _is_known(self, call: _Call) -> bool:
        assert call.terms.id is not None
        agent = agent_of(call.terms, self._defaults)
        return await self._purchases.backend.result(agent, call.terms.id, 0) is not None

    async def _asked(self, call: _Call) -> Response:
        """Ask the seller without a payment."""
        body = joined(call.beginning, call.rest) if call.rest is not None else call.content
        asked = httpx.Request(
            call.request.method, call.url, headers=call.headers, content=body or None, extensions={"timeout": TIMEOUT}
        )
        sending = self._transport.handle_async_request(asked)
        try:
            # The body of a caller is read while it is sent, so that nobody else can watch the connection meanwhile.
            answer = await (sending if call.rest is not None else self._purchases.while_wanted(call.request, sending))
        except httpx.TimeoutException as error:
            raise _silent(call.url, error, "seller_timed_out") from None
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise _silent(call.url, error, "seller_unavailable") from None
        if not 200 <= answer.status_code < 600:  # RFC 9110, section 15; nothing of it could be told to a caller
            await answer.aclose()
            message = f"the seller {host_of(call.url)} does not answer: HTTP {answer.status_code} is no answer"
            raise Unreachable(message, "seller_unavailable")
        if answer.status_code != 402 or carries_payment(call.request.headers):
            return self._passed(call, answer, answer.aiter_raw())
        return await self._paid(call, answer)

    def _passed(self, call: _Call, answer: httpx.Response, chunks: AsyncIterator[bytes]) -> Response:
        """The seller's answer, piece by piece as it comes."""
        passed = _Passed(answer, chunks)
        passed.raw_headers = headers_to_caller(answer.headers.raw, call.url, call.request.scope)
        return passed

    async def _paid(self, call: _Call, answer: httpx.Response) -> Response:
        """Have an agent pay, if the 402 asks for that."""
        chunks = answer.aiter_raw()
        try:
            async with asyncio.timeout(DEMAND_TIMEOUT_S):
                body, rest = await split(chunks, MOST_DEMAND_BYTES)
                decoded = b"" if rest is not None else await _decoded(answer, body)
        except (TimeoutError, httpx.TransportError) as error:
            await answer.aclose()
            raise _silent(call.url, error, "seller_timed_out") from None
        if not is_x402_demand(402, answer.headers, decoded):
            return self._passed(call, answer, joined(body, rest))
        await answer.aclose()
        headers = headers_to_caller(answer.headers.raw, call.url, call.request.scope)
        return await self._bought(call, _Demand(headers, decoded))

    async def _bought(self, call: _Call, demand: _Demand | None) -> Response:
        """What an agent buys; without content the reason, beside the seller's demand if it is known."""
        try:
            wanted = self._wanted(call)
            purchase = await self._purchases.buy(call.request, wanted)
            return _content(purchase)
        except (InvalidCall, NotBought) as error:
            return _not_paid(error, demand)

    def _wanted(self, call: _Call) -> Wanted:
        method, headers = call.request.method, headers_for_agent(call.headers)
        not_paid = not_payable(method, headers, call.content, body_kept=call.content is not None)
        if not_paid is not None:
            raise InvalidCall(not_paid.message, not_paid.type)
        return wanted_of(
            call.url,
            call.terms,
            self._defaults,
            method=method,
            headers=headers,
            content=call.content or None,
        )


def _content(purchase: Purchase) -> Response:
    delivered(purchase)
    return purchase_response(purchase, "*/*")


def _not_paid(error: InvalidCall | NotBought, demand: _Demand | None) -> Response:
    """The reason; where nothing was paid, as the seller's own 402 with what a client needs that would pay itself."""
    problem = problem_of(error)
    is_unpaid = isinstance(error, InvalidCall) or (isinstance(error, PurchaseRefused) and problem.status != 503)
    if demand is None or not is_unpaid:
        return error_response(error)
    own = receipt_headers(error.purchase) if isinstance(error, NotBought) else {}
    told = problem_response(
        problem.model_copy(update={"status": 402, "retry_after_s": None}), own, _members(demand.body)
    )
    kept = [(name, value) for name, value in demand.headers if name not in _REPLACED]
    told.raw_headers = [*kept, *told.raw_headers]
    return told


def _members(body: bytes) -> Mapping[str, Any]:
    """What of a v1 demand, which is a body, goes into the body that is told instead."""
    try:
        content = read_json(body)
        return {name: content[name] for name in _DEMAND_MEMBERS if name in content and _is_tellable(content[name])}
    except (ValueError, TypeError):
        return {}


def _is_tellable(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return False
    return True


async def _decoded(answer: httpx.Response, body: bytes) -> bytes:
    codings = tuple(each.strip().lower() for each in answer.headers.get("content-encoding", "").split(",") if each)
    named = tuple(each for each in codings if each not in ("", "identity"))
    if not named:
        return body
    return (await asyncio.to_thread(decode, body, named, MOST_DEMAND_BYTES, whole=True)).content


class _Passed(StreamingResponse):
    """A seller's answer that is passed on; its connection is given back at the end, however that comes."""

    def __init__(self, answer: httpx.Response, chunks: AsyncIterator[bytes]) -> None:
        super().__init__(chunks, answer.status_code)
        self._answer = answer

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            with contextlib.suppress(httpx.TransportError):
                await self._answer.aclose()


def _silent(url: str, error: Exception, kind: str) -> Unreachable:
    return Unreachable(f"the seller {host_of(url)} does not answer: {type(error).__name__}", kind)
