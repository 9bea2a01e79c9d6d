"""Buys for callers who wait over HTTP: until the end, the caller's going away or the gateway's stop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from autopay.client.errors import AutopayError, InvalidCall, Unreachable
from autopay.client.requests.listener import NOBODY, Listener
from autopay.domain.request import RequestStatus
from autopay.gateway.orders import Wanted
from autopay.transport.unanswered import UnansweredCalls, asked_text

if TYPE_CHECKING:
    from starlette.requests import Request

    from autopay.client.backend import Backend
    from autopay.client.values import Purchase

T = TypeVar("T")

GRACE_S = 5.0
"""So long after the order to stop, what is under way may still end."""

_LEFT_OPEN = frozenset({RequestStatus.WAITING, RequestStatus.UNRESOLVED, RequestStatus.UNDELIVERED})


class CallerGone(Exception):
    """The caller has closed its connection; nobody reads an answer."""


class GatewayStopping(Unreachable):
    """The gateway ends, and the request goes on without it."""

    type = "gateway_stopping"

    def __init__(self, *, has_key: bool) -> None:
        super().__init__("the gateway is being stopped: ask it again once it runs; the same id never pays twice")
        self.has_key = has_key


class Purchases:
    """Everything that a gateway does by its backend, one caller at a time."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.stopping = asyncio.Event()
        self.unanswered = UnansweredCalls()

    async def buy(self, request: Request, wanted: Wanted, listener: Listener = NOBODY) -> Purchase:
        """Buy it; the agent goes on with it when the caller goes away or the gateway stops.

        A caller without a key cannot name its request again. If it asks for exactly the same within ten minutes after
        a call that ended without an answer, that request is taken up: clients that try again by themselves would else
        pay anew for what may be paid.

        Raises:
            CallerGone: the caller went away.
            AutopayError: see `Backend`; with the id to ask again with.
        """
        asked = _asked(wanted)
        if not wanted.has_key and (open_id := self.unanswered.take(asked)) is not None:
            wanted = wanted._replace(ask=wanted.ask.model_copy(update={"id": open_id}))
        may_be_open = True
        try:
            purchase = await self.while_wanted(request, self.backend.buy(wanted.agent, wanted.ask, listener), wanted)
            may_be_open = purchase.status in _LEFT_OPEN
        except AutopayError as error:
            error.request_id = wanted.ask.id
            may_be_open = not isinstance(error, InvalidCall)
            raise
        finally:
            if may_be_open and not wanted.has_key:
                self.unanswered.keep(asked, wanted.ask.id)
        return purchase

    async def while_wanted(self, request: Request, work: Coroutine[Any, Any, T], wanted: Wanted | None = None) -> T:
        """The result of the work, as long as somebody waits for it. The request's body has been read.

        Raises:
            CallerGone, GatewayStopping: it was canceled.
        """
        doing = asyncio.ensure_future(work)
        gone, over = asyncio.ensure_future(_until_gone(request)), asyncio.ensure_future(self._until_over())
        try:
            await asyncio.wait((doing, gone, over), return_when=asyncio.FIRST_COMPLETED)
            if doing.done():
                return doing.result()
        finally:
            for each in (doing, gone, over):
                each.cancel()
            await asyncio.wait((doing, gone, over), timeout=1)
            if doing.done() and not doing.cancelled():
                doing.exception()  # is raised above, or nobody's any more
        if gone.done() and not gone.cancelled():
            raise CallerGone
        raise GatewayStopping(has_key=wanted is None or wanted.has_key)

    async def _until_over(self) -> None:
        await self.stopping.wait()
        await asyncio.sleep(GRACE_S)


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _asked(wanted: Wanted) -> str:
    ask = wanted.ask
    limits = (wanted.agent, ask.max_price_atomic, ask.currency, ask.max_age_s)
    return asked_text(ask.method, ask.url, ask.headers, ask.content, *limits)
