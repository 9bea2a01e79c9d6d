"""A transport of httpx that pays: `httpx.Client(transport=autopay.httpx.Transport(agent="research"))`.

What is free passes through untouched; an answer `402 Payment Required` with an x402 demand goes to the agent, which
pays within its limits, once. See docs/python.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from autopay.transport.connection import ClientArguments
from autopay.transport.errors import Ending, NamedCause
from autopay.transport.httpx_family import HttpxTransport
from autopay.transport.options import Limits

if TYPE_CHECKING:
    from autopay.client.asking import Age, Amount
    from autopay.settings import Settings


class PaymentRefused(NamedCause, httpx.HTTPStatusError):
    """Refused by a rule, the terms or a person; nothing was paid. `type` names the rule, `response` is the 402."""


class PaymentFailed(NamedCause, httpx.RemoteProtocolError):
    """The seller did not answer the agent as it should; it is proven that nothing was paid."""


class PaymentUndelivered(NamedCause, httpx.ReadError):
    """It is paid, and there is no content; the same idempotency key never pays again."""


class PaymentUnfinished(NamedCause, httpx.ReadTimeout):
    """It has not ended within the time; the same idempotency key goes on with it."""


class AutopayUnreachable(NamedCause, httpx.ConnectError):
    """The ledger, Temporal or the agent does not answer."""


class InvalidPayment(NamedCause, httpx.LocalProtocolError):
    """A limit, key, agent or setting that cannot be, or a key that belongs to a request with other terms."""


class PaymentCallFailed(NamedCause, httpx.TransportError):
    """Anything else."""


_ERRORS: Mapping[Ending, type[Exception]] = {
    Ending.REFUSED: PaymentRefused,
    Ending.FAILED: PaymentFailed,
    Ending.UNDELIVERED: PaymentUndelivered,
    Ending.UNFINISHED: PaymentUnfinished,
    Ending.UNREACHABLE: AutopayUnreachable,
    Ending.INVALID: InvalidPayment,
    Ending.OTHER: PaymentCallFailed,
}


class Transport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Sends requests, and pays for what costs money through one agent, within its limits, exactly once.

    For `httpx.Client` and for `httpx.AsyncClient` (on asyncio). One request may say more by
    `extensions={"autopay": {"id": …, "max_price": …, "currency": …, "max_age": …, "timeout": …}}`, or by the headers
    `Idempotency-Key`, `Autopay-Max-Price` and so on. A paid answer has its `Receipt` in
    `response.extensions["autopay"]`.

    Args:
        agent: who pays.
        inner: what sends the requests; `httpx.HTTPTransport()` or `httpx.AsyncHTTPTransport()` by default. Give one
            for proxies, HTTP/2, certificates or retries: the client's own arguments for these do not reach it.
        max_price: pay at most this for a request, in token units: `"0.01"` or a `Decimal`.
        currency: pay in this one only: USDC or CASH.
        max_age: accept what the agent bought up to this long ago: seconds, a `timedelta` or `"5m"`.
        timeout: how long to wait for an answer that costs money, in seconds. By default 120 s, or the request's own
            read time-out when that is longer.
        settings: where ledger and Temporal are; the environment's by default.
        home: the folder of the embedded stack, when it is not `.autopay` here.
        gateway: the address of an HTTP gateway to buy through, for programs that reach no ledger.
        token: what the gateway wants to be shown.

    Raises:
        InvalidCall: an agent's name or a limit that cannot be.
    """

    def __init__(
        self,
        agent: str,
        *,
        inner: httpx.BaseTransport | httpx.AsyncBaseTransport | None = None,
        max_price: Amount | None = None,
        currency: str | None = None,
        max_age: Age | None = None,
        timeout: float | None = None,
        settings: Settings | None = None,
        home: Path | str | None = None,
        gateway: str | None = None,
        token: str | None = None,
    ) -> None:
        arguments = ClientArguments(agent, settings, home, gateway, token)
        limits = Limits(max_price, currency, max_age, timeout)
        self._transport = HttpxTransport(httpx, _ERRORS, arguments, limits, inner)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and pay for its answer when that is a demand.

        Raises:
            httpx.HTTPError: of the inner transport, or a class of this module; `__cause__` is an `AutopayError`.
        """
        response: httpx.Response = self._transport.send(request)
        return response

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The same in an event loop."""
        response: httpx.Response = await self._transport.send_async(request)
        return response

    def close(self) -> None:
        """Close all connections of the calls without an event loop."""
        self._transport.close()

    async def aclose(self) -> None:
        """Close all connections of the calls in an event loop."""
        await self._transport.aclose()
