"""`Client`: `AsyncClient` for programs without an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
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
    """An event loop in a thread of its own, for calls from other threads. It does not keep the process alive."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="autopay", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do the work there and return its result; an interrupt of the caller cancels it."""
        if self.loop.is_closed():
            work.close()
            raise RuntimeError("this client is closed")
        doing: Future[T] = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return doing.result()
        except BaseException:
            doing.cancel()
            raise

    def close(self) -> None:
        """End the loop and its thread."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join()
            self.loop.close()


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
    ) -> None:
        self._client = AsyncClient(agent, settings=settings, home=home)
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
        if not self._thread.loop.is_closed():
            self._thread.run(self._client.close())
            self._thread.close()

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
        """The data at a URL; the agent pays for it, once. See `AsyncClient.fetch`; callbacks run in another thread."""
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
