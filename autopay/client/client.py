"""`Client`: `AsyncClient` for programs without an event loop."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import weakref
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from autopay.client.async_client import AsyncClient

if TYPE_CHECKING:
    from autopay.client.asking import Age, Amount
    from autopay.client.values import Budget, PaymentSummary, Purchase, Quote
    from autopay.domain.policy.records import ApprovalRecord
    from autopay.settings import Settings

T = TypeVar("T")


class LoopThread:
    """An event loop in a thread of its own, for calls from other threads. It does not keep the process alive.

    The thread starts with the first call. At the end of the process what is still open is closed.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()
        self._is_closed = False

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do the work there and return its result; an interrupt of the caller cancels it.

        Raises:
            RuntimeError: it is closed, belongs to the process that this one was forked from, or this is its own thread.
        """
        try:
            loop = self._running_loop()
        except RuntimeError:
            work.close()
            raise
        doing: Future[T] = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            return doing.result()
        except BaseException as error:
            doing.cancel()
            if isinstance(error, CancelledError) and self._is_closed:
                raise RuntimeError("this client was closed while it was used") from None
            raise

    def close(self, last: Coroutine[Any, Any, None]) -> None:
        """Cancel what is under way there, do this last work, and end the loop and its thread."""
        try:
            self._require_other_thread()
        except RuntimeError:
            last.close()
            raise
        with self._lock:
            was_closed, self._is_closed = self._is_closed, True
            loop, thread = self._loop, self._thread
        if was_closed or loop is None or thread is None or os.getpid() != self._pid:
            last.close()
            return
        _OPEN.discard(self)
        try:
            asyncio.run_coroutine_threadsafe(_finish(last), loop).result()
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    def _require_other_thread(self) -> None:
        if threading.current_thread() is self._thread:  # it would wait for itself for ever
            raise RuntimeError("a callback cannot call its own client: do it in another thread")

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._is_closed:
                raise RuntimeError("this client is closed")
            if os.getpid() != self._pid:
                raise RuntimeError("this client was made before a fork: make one in each process")
            self._require_other_thread()
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="autopay", daemon=True)
                self._thread.start()
                _OPEN.add(self)
            return self._loop


_OPEN: weakref.WeakSet[LoopThread] = weakref.WeakSet()


async def _finish(last: Coroutine[Any, Any, None]) -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await last


async def _nothing() -> None:
    """The last work of a client that nobody has closed."""


@atexit.register
def _close_all() -> None:
    """End the threads: one that is in the middle of something could abort the end of the process."""
    for each in list(_OPEN):
        each.close(_nothing())


class Client:
    """Buys from paid APIs through one agent, within its limits, exactly once.

        with autopay.Client("research") as client:
            bought = client.fetch("https://api.example.com/report", id="report-7", max_price="0.01")
            print(bought.text, bought.receipt.transaction)

    May be used by several threads at once. Arguments and errors are those of `AsyncClient`, method by method.
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
        self._client = AsyncClient(agent, settings=settings, home=home, gateway=gateway, token=token)
        self._thread = LoopThread()

    @property
    def agent(self) -> str:
        """Who pays."""
        return self._client.agent

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection, and end the client's thread."""
        self._thread.close(self._client.close())

    def fetch(
        self,
        url: str,
        *,
        id: str | None = None,  # noqa: A002
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
        """The data at a URL; the agent pays for it, once. See `AsyncClient.fetch`.

        Callbacks run in the client's own thread, and cannot call this client: it would wait for itself.
        """
        return self._thread.run(
            self._client.fetch(
                url,
                id=id,
                method=method,
                headers=headers,
                content=content,
                json=json,
                max_price=max_price,
                currency=currency,
                max_age=max_age,
                timeout=timeout,
                on_approval=on_approval,
                on_progress=on_progress,
            )
        )

    def quote(
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
        """What the seller asks for now, without paying."""
        return self._thread.run(
            self._client.quote(
                url,
                method=method,
                headers=headers,
                content=content,
                json=json,
                max_price=max_price,
                currency=currency,
            )
        )

    def result(self, id: str, *, wait: float = 0) -> Purchase | None:  # noqa: A002
        """How a request stands; None: there is none of that id."""
        return self._thread.run(self._client.result(id, wait=wait))

    def purchases(
        self, *, since: datetime | timedelta | None = None, host: str | None = None, limit: int = 50
    ) -> Sequence[PaymentSummary]:
        """The agent's payments, newest first."""
        return self._thread.run(self._client.purchases(since=since, host=host, limit=limit))

    def budget(self) -> Budget:
        """What the agent may spend, by the ledger."""
        return self._thread.run(self._client.budget())

    def agents(self) -> Sequence[Budget]:
        """All agents, with their state."""
        return self._thread.run(self._client.agents())

    def pause(self, reason: str | None = None) -> None:
        """Let the agent start nothing new; what is under way finishes."""
        self._thread.run(self._client.pause(reason))

    def resume(self) -> None:
        """Let a paused agent go on."""
        self._thread.run(self._client.resume())

    def cancel(self, id: str) -> None:  # noqa: A002
        """Pay nothing more for a request than is signed."""
        self._thread.run(self._client.cancel(id))

    def approvals(self) -> Sequence[ApprovalRecord]:
        """The agent's payments that wait for a person, oldest first, with their exact terms."""
        return self._thread.run(self._client.approvals())

    def approve(self, approval_id: object) -> bool:
        """Approve a payment on the terms that `approvals` shows; False when it was approved before."""
        return self._thread.run(self._client.approve(approval_id))

    def deny(self, approval_id: object) -> bool:
        """Deny a payment: nothing is paid; False when it was denied before."""
        return self._thread.run(self._client.deny(approval_id))
