"""`AsyncClient`: buys through one agent, for programs with an event loop. `Client` is the same without one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from autopay.client.asking import Age, Amount, checked_agent, make_ask
from autopay.client.errors import (
    AutopayError,
    InvalidCall,
    NotBought,
    PurchaseFailed,
    PurchaseRefused,
    PurchaseUndelivered,
    PurchaseUnfinished,
    TermsDiffer,
    named,
)
from autopay.client.requests.listener import Listener
from autopay.client.values import Budget, PaymentSummary, Purchase, Quote
from autopay.domain.request import RequestStatus

if TYPE_CHECKING:
    from autopay.client.backend import Backend
    from autopay.domain.policy.records import ApprovalRecord
    from autopay.settings import Settings

_ERRORS: Mapping[RequestStatus, type[NotBought]] = {
    RequestStatus.REFUSED: PurchaseRefused,
    RequestStatus.FAILED: PurchaseFailed,
    RequestStatus.UNDELIVERED: PurchaseUndelivered,
    RequestStatus.WAITING: PurchaseUnfinished,
    RequestStatus.UNRESOLVED: PurchaseUnfinished,
}


class AsyncClient:
    """Buys from paid APIs through one agent, within its limits, exactly once.

        async with autopay.AsyncClient("research") as client:
            bought = await client.fetch("https://api.example.com/report", id="report-7", max_price="0.01")
            print(bought.text, bought.receipt.transaction)

    Connections are made at the first call and kept: make one client, and use it for all calls of one event loop.

    Args:
        agent: who pays; made by the command `launch`.
        settings: where ledger and Temporal are; the environment's (AUTOPAY_*, TEMPORAL_*, `.env`) or the embedded
            stack's by default.
        home: the folder of the embedded stack, when it is not `.autopay` here.
        gateway: the address of an HTTP gateway (the command `gateway`) to work through, in place of connections of its
            own; AUTOPAY_GATEWAY by default.
        token: what the gateway wants to be shown; AUTOPAY_GATEWAY_TOKEN by default.

    Raises:
        AutopayError: a setting is missing or wrong.
    """

    def __init__(
        self,
        agent: str,
        *,
        settings: Settings | None = None,
        home: Path | str | None = None,
        gateway: str | None = None,
        token: str | None = None,
    ) -> None:
        self.agent = checked_agent(agent)
        self._backend = open_backend(settings, home, gateway, token)
        self._is_closed = False
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection; the client cannot be used any more."""
        if not self._is_closed:
            self._is_closed = True
            await self._backend.close()

    def _ready(self) -> Backend:
        """What the work is done by.

        Raises:
            RuntimeError: the client is closed, or its connections are those of another event loop.
        """
        if self._is_closed:
            raise RuntimeError("this client is closed")
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise RuntimeError("this client has the connections of another event loop: make one for each")
        return self._backend

    async def fetch(
        self,
        url: str,
        *,
        id: str | None = None,  # noqa: A002 - what every other door calls it
        method: str | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | str | None = None,
        json: Any = None,
        max_price: Amount | None = None,
        currency: str | None = None,
        max_age: Age | None = None,
        timeout: float = 120,
        on_approval: Callable[[ApprovalRecord], None] | None = None,
        on_progress: Callable[[str], None] | None = None,
    ) -> Purchase:
        """The data at a URL; the agent pays for it, once.

        Args:
            url: what to ask. It is recorded in clear: secrets belong into headers or content, which are sealed.
            id: your idempotency key. The same id of the same agent never pays twice: it returns what was bought, or
                goes on waiting. Without one, each call is a new request.
            method: GET, or POST with content.
            headers: sent to the seller.
            content: the body.
            json: the body, as JSON.
            max_price: pay at most this, in token units: `"0.01"` or a `Decimal`.
            currency: pay in this one only: USDC or CASH.
            max_age: accept what the agent bought up to this long ago: seconds, a `timedelta` or `"5m"`; 0 always buys.
                By default the window of the agent's watch of the same data, if it has one.
            timeout: seconds to wait for the content.
            on_approval: called for each approval by a person that the request waits for.
            on_progress: called with a sentence about what the request waits for, when that changes.

        Raises:
            PurchaseRefused: by a rule, the terms or a person; nothing was paid. `type` names the rule.
            PurchaseFailed: no content, and it is proven that nothing was paid.
            PurchaseUndelivered: paid, and the seller did not deliver.
            PurchaseUnfinished: not within `timeout`; the same id goes on.
            TermsDiffer: the id belongs to a request with other terms.
            InvalidCall, Misconfigured, Unreachable: see `autopay.client.errors`; `request_id` is the id to ask again
                with.
        """
        ask = make_ask(
            url,
            request_id=id,
            method=method,
            headers=headers,
            content=content,
            json_content=json,
            max_price=max_price,
            currency=currency,
            max_age=max_age,
            timeout_s=timeout,
        )
        try:
            purchase = await self._ready().buy(self.agent, ask, Listener(on_approval, on_progress))
        except AutopayError as error:
            error.request_id = ask.id
            raise
        return delivered(purchase)

    async def quote(
        self,
        url: str,
        *,
        method: str | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | str | None = None,
        json: Any = None,
        max_price: Amount | None = None,
        currency: str | None = None,
    ) -> Quote:
        """What the seller asks for now, without paying; `Quote.error` says why it would not be paid."""
        ask = make_ask(
            url,
            method=method,
            headers=headers,
            content=content,
            json_content=json,
            max_price=max_price,
            currency=currency,
        )
        return await self._ready().quote(self.agent, ask)

    async def result(self, id: str, *, wait: float = 0) -> Purchase | None:  # noqa: A002
        """How a request stands, waiting for its end at most `wait` seconds; None: there is none of that id.

        Nothing is asked or paid.
        """
        return await self._ready().result(self.agent, id, wait)

    async def purchases(
        self, *, since: datetime | timedelta | None = None, host: str | None = None, limit: int = 50
    ) -> Sequence[PaymentSummary]:
        """The agent's payments, newest first.

        Args:
            since: a moment with its zone, or how long ago.
            host: only what was bought there: `api.example.com`, `api.example.com:8443`, or `*.example.com`.
            limit: at most so many.
        """
        try:
            moment = datetime.now().astimezone() - since if isinstance(since, timedelta) else since
        except OverflowError:
            raise InvalidCall(f"since: {since} ago was before the year 1") from None
        if moment is not None and moment.tzinfo is None:
            raise InvalidCall("since: give the time with its zone, like datetime.now(UTC)")
        if limit < 1:
            raise InvalidCall("limit: at least 1")
        return await self._ready().purchases(self.agent, moment, host, limit)

    async def budget(self) -> Budget:
        """What the agent may spend, by the ledger."""
        return await self._ready().budget(self.agent)

    async def agents(self) -> Sequence[Budget]:
        """All agents, with their state."""
        return await self._ready().agents()

    async def pause(self, reason: str | None = None) -> None:
        """Let the agent start nothing new; what is under way finishes."""
        await self._ready().pause(self.agent, reason)

    async def resume(self) -> None:
        """Let a paused agent go on."""
        await self._ready().resume(self.agent)

    async def cancel(self, id: str) -> None:  # noqa: A002
        """Pay nothing more for a request than is signed; `result` tells how it ends."""
        await self._ready().cancel(self.agent, id)

    async def approvals(self) -> Sequence[ApprovalRecord]:
        """The agent's payments that wait for a person, oldest first, with their exact terms."""
        return await self._ready().approvals(self.agent)

    async def approve(self, approval_id: object) -> bool:
        """Approve a payment on the terms that `approvals` shows; False when it was approved before."""
        return await self._ready().decide(str(approval_id), approve=True)

    async def deny(self, approval_id: object) -> bool:
        """Deny a payment: nothing is paid; False when it was denied before."""
        return await self._ready().decide(str(approval_id), approve=False)


def open_backend(
    settings: Settings | None, home: Path | str | None, gateway: str | None = None, token: str | None = None
) -> Backend:
    """What the client works by; nothing is connected yet.

    A gateway that is named goes before everything; settings or a home that are given, before AUTOPAY_GATEWAY.

    Raises:
        AutopayError: a setting is missing or wrong.
    """
    from autopay.domain.errors import SettingsError
    from autopay.settings import Settings as Loaded

    try:
        found = settings or Loaded.load(home=None if home is None else Path(home))
        if gateway is None and settings is None and home is None:
            gateway = found.gateway
        if gateway:
            from autopay.client.gateway import GatewayBackend

            return GatewayBackend(gateway, token or found.gateway_token.get_secret_value())
        from autopay.client.direct import DirectBackend

        return DirectBackend(found.resolve("database_url", "keyring"))
    except SettingsError as error:
        raise named(error) from None


def delivered(purchase: Purchase) -> Purchase:
    """The purchase, when it has its content.

    Raises:
        NotBought, TermsDiffer: it has not.
    """
    said = purchase.error.message if purchase.error is not None else ""
    if purchase.terms_differ:
        raise TermsDiffer(purchase, said)
    if purchase.ok:
        return purchase
    error = _ERRORS[purchase.status]
    raise error(purchase, f"request {purchase.id!r} is {purchase.status.value}{': ' if said else ''}{said}")
