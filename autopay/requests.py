"""An adapter for requests that pays: `session.mount("https://api.example.com", autopay.requests.Adapter("research"))`.

What is free passes through untouched; an answer `402 Payment Required` with an x402 demand goes to the agent, which
pays within its limits, once. See docs/python.md.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import BaseAdapter, HTTPAdapter

from autopay.client.asking import checked_agent
from autopay.transport.connection import ClientArguments
from autopay.transport.errors import Ending, NamedCause
from autopay.transport.flow import Buy, Discard, ReadBeginning, Recall, Send, Step, run, steps
from autopay.transport.options import Limits
from autopay.transport.payer import Payers
from autopay.transport.requests_library import ATTRIBUTE, RequestsLibrary, beginning_of

if TYPE_CHECKING:
    from autopay.client.asking import Age, Amount
    from autopay.client.values import Receipt
    from autopay.settings import Settings
    from autopay.transport.demand import NotPaid


class PaymentRefused(NamedCause, requests.HTTPError):
    """Refused by a rule, the terms or a person; nothing was paid. `type` names the rule, `response` is the 402."""


class PaymentFailed(NamedCause, requests.ConnectionError):
    """The seller did not answer the agent as it should; it is proven that nothing was paid."""


class PaymentUndelivered(NamedCause, requests.ConnectionError):
    """It is paid, and there is no content; the same idempotency key never pays again."""


class PaymentUnfinished(NamedCause, requests.ReadTimeout):
    """It has not ended within the time; the same idempotency key goes on with it."""


class AutopayUnreachable(NamedCause, requests.ConnectionError):
    """The ledger, Temporal or the agent does not answer."""


class InvalidPayment(NamedCause, requests.RequestException):
    """A limit, key, agent or setting that cannot be, or a key that belongs to a request with other terms."""


class PaymentCallFailed(NamedCause, requests.RequestException):
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


class Adapter(BaseAdapter):
    """Sends requests, and pays for what costs money through one agent, within its limits, exactly once.

    One request may say more by the headers `Idempotency-Key`, `Autopay-Max-Price`, `Autopay-Currency`,
    `Autopay-Max-Age` and `Autopay-Timeout`. `receipt(response)` tells what was paid.

    Args:
        agent: who pays.
        inner: what sends the requests; `requests.adapters.HTTPAdapter()` by default.
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
        inner: BaseAdapter | None = None,
        max_price: Amount | None = None,
        currency: str | None = None,
        max_age: Age | None = None,
        timeout: float | None = None,
        settings: Settings | None = None,
        home: Path | str | None = None,
        gateway: str | None = None,
        token: str | None = None,
    ) -> None:
        super().__init__()
        checked_agent(agent)
        self._inner = inner if inner is not None else HTTPAdapter()
        self._limits = Limits(max_price, currency, max_age, timeout).checked()
        self._payers = Payers(ClientArguments(agent, settings, home, gateway, token).open)
        self._lock = threading.Lock()
        self._is_closed = False

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> requests.Response:
        """Send a request, and pay for its answer when that is a demand.

        Raises:
            requests.RequestException: of the inner adapter, or a class of this module; `__cause__` is an
                `AutopayError`.
        """
        if self._is_closed:
            raise RuntimeError("this adapter is closed")

        def do(step: Step) -> Any:
            match step:
                case Recall(call):
                    return self._payers.recall(call)
                case Send(sent):
                    return self._inner.send(sent, stream, timeout, verify, cert, proxies)
                case ReadBeginning(response):
                    return beginning_of(response)
                case Discard(response):
                    return response.close()
                case Buy(call):
                    return self._payers.buy(call)

        library = RequestsLibrary(_ERRORS, self, timeout)
        response: requests.Response = run(steps(library, self._payers.unanswered, self._limits, request), do)
        return response

    def close(self) -> None:
        """Close all connections."""
        self._is_closed = True
        self._inner.close()
        self._payers.close()


def receipt(response: requests.Response) -> Receipt | NotPaid | None:
    """What was paid for the response, or why its demand was not paid; None when it was free."""
    found: Receipt | NotPaid | None = getattr(response, ATTRIBUTE, None)
    return found
