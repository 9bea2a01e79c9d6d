"""Hands demands to the agent for a transport, and asks the ledger first for what has been asked before."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from autopay.client.errors import AutopayError, PurchaseUnfinished, TermsDiffer
from autopay.domain.text.command_line import command_line
from autopay.transport.answers import Answer, answer_of
from autopay.transport.errors import nothing_is_owed
from autopay.transport.unanswered import UnansweredCalls, asked_text

if TYPE_CHECKING:
    from autopay.client.async_client import AsyncClient
    from autopay.client.client import LoopThread
    from autopay.client.values import Purchase
    from autopay.transport.options import Limits


@dataclass(frozen=True)
class Call:
    """One request of a program, as far as a payment needs it.

    `id` is the request's, None before it has one; `has_key` says whether its caller gave the key of it. `body` is None
    without one.
    """

    method: str
    url: str
    headers: dict[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)
    limits: Limits
    wait_s: float
    id: str | None
    has_key: bool

    @property
    def asked(self) -> str:
        """What is asked, as a text to compare."""
        limits = self.limits
        return asked_text(self.method, self.url, self.headers, self.body, limits.max_price, limits.currency)


class Payer:
    """What one transport pays by, in one event loop.

    Args:
        open_client: makes the client, at the first call that needs one.
        unanswered: shared by the payers of a transport.
    """

    def __init__(self, open_client: Callable[[], AsyncClient], unanswered: UnansweredCalls) -> None:
        self._open_client = open_client
        self._client: AsyncClient | None = None
        self._unanswered = unanswered

    async def recall(self, call: Call) -> Answer | None:
        """The answer of the purchase that this call has begun before, waiting for its end; None when there is none.

        None, too, when the id belongs to a request with other terms: a redirect repeats a key with another URL.

        Raises:
            AutopayError: it has ended without content, or the ledger cannot be read.
        """
        assert call.id is not None
        async with self._kept_when_unanswered(call):
            if await self._opened().result(call.id) is None:
                return None
            try:
                return await self._fetched(call)
            except TermsDiffer:
                return None

    async def buy(self, call: Call) -> Answer:
        """Have the agent buy the answer.

        Raises:
            AutopayError: there is none.
        """
        async with self._kept_when_unanswered(call):
            return await self._fetched(call)

    async def close(self) -> None:
        """Close the client."""
        if self._client is not None:
            await self._client.close()

    def _opened(self) -> AsyncClient:
        if self._client is None:
            self._client = self._open_client()
        return self._client

    async def _fetched(self, call: Call) -> Answer:
        limits = call.limits
        try:
            purchase = await self._opened().fetch(
                call.url,
                id=call.id,
                method=call.method,
                headers=call.headers,
                content=call.body,
                max_price=limits.max_price,
                currency=limits.currency,
                max_age=limits.max_age,
                timeout=call.wait_s,
            )
        except PurchaseUnfinished as error:
            message = f"{error}: no answer within {call.wait_s:g} s{await self._why_it_waits(error.purchase)}"
            message += f"; the idempotency key {error.purchase.id!r} goes on with it"
            raise PurchaseUnfinished(error.purchase, message) from error
        return answer_of(purchase)

    async def _why_it_waits(self, purchase: Purchase) -> str:
        """What a person could do for the purchase, as the end of a sentence; nothing when nobody knows."""
        client = self._opened()
        try:
            asked = [row for row in await client.approvals() if row.terms.request_id == purchase.id]
            if asked:
                return f"; a person is asked: {command_line('approve', str(asked[0].approval_id))}"
            paused = (await client.budget()).paused
        except AutopayError:  # the error is that it is unfinished
            return ""
        return f"; agent {client.agent} is paused: {paused}" if paused else ""

    @asynccontextmanager
    async def _kept_when_unanswered(self, call: Call) -> AsyncIterator[None]:
        """A call without a key that ends without an answer leaves its id to the same call made again."""
        try:
            yield
        except BaseException as error:
            is_over = isinstance(error, AutopayError) and nothing_is_owed(error)
            if not call.has_key and call.id is not None and not is_over:
                self._unanswered.keep(call.asked, call.id)
            raise


class Payers:
    """The payers of one transport: one for its calls without an event loop, one for those within."""

    def __init__(self, open_client: Callable[[], AsyncClient]) -> None:
        self.unanswered = UnansweredCalls()
        self._open_client = open_client
        self._lock = threading.Lock()
        self._thread: LoopThread | None = None
        self._in_thread = Payer(open_client, self.unanswered)
        self.in_loop = Payer(open_client, self.unanswered)

    def recall(self, call: Call) -> Answer | None:
        """See `Payer.recall`."""
        return self._started().run(self._in_thread.recall(call))

    def buy(self, call: Call) -> Answer:
        """See `Payer.buy`."""
        return self._started().run(self._in_thread.buy(call))

    def close(self) -> None:
        """Close what the calls without an event loop have used."""
        if self._thread is not None:
            self._thread.close(self._in_thread.close())

    def _started(self) -> LoopThread:
        from autopay.client.client import LoopThread

        with self._lock:
            if self._thread is None:
                self._thread = LoopThread()
            return self._thread


def with_new_id(call: Call) -> Call:
    """The call with an id of its own, unless it has one."""
    return call if call.id is not None else replace(call, id=f"http-{os.getpid():x}-{secrets.token_hex(8)}")
