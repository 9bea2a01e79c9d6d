"""Waits for requests to be answered, for all activities of a worker: one connection listens, one query looks."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

LOOK_S = 0.5
"""How often the ledger is looked at when it does not notify."""

PAUSE_S = 0.03
"""Between two looks: a busy ledger notifies all the time."""

Listening = Callable[[], AbstractAsyncContextManager[Callable[[float], Awaitable[bool]]]]
"""Listens for commits: what it gives waits for one for that many seconds at most."""


class AnsweredRequests(Protocol):
    """Which requests have been answered. Raises LedgerUnavailable."""

    async def answered_among(self, request_keys: Sequence[str]) -> Sequence[str]:
        """Those that have ended, or whose content has come."""
        ...


class AnswerWatch:
    """Waits for the answers to many requests."""

    def __init__(self, requests: AnsweredRequests, listening: Listening) -> None:
        self._requests, self._listening = requests, listening
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self._looking: asyncio.Task[None] | None = None

    async def answered(self, request_key: str, within_s: float) -> bool:
        """Whether the request was answered within that time.

        Raises:
            TransientFault: the ledger does not answer.
        """
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(request_key, set()).add(answer)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        try:
            async with asyncio.timeout(within_s):
                await answer
        except TimeoutError:
            return False
        finally:
            self._forget(request_key, answer)
        return True

    async def close(self) -> None:
        """End; who waits still is told that nothing was answered, as a time-out would."""
        for answers in self._waiting.values():
            for answer in answers:
                answer.cancel()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait({self._looking})

    def _forget(self, request_key: str, answer: "asyncio.Future[None]") -> None:
        answers = self._waiting.get(request_key, set())
        answers.discard(answer)
        if not answers:
            self._waiting.pop(request_key, None)

    async def _look(self) -> None:
        """Look at each commit, for as long as somebody waits."""
        try:
            async with self._listening() as notified:
                while self._waiting:
                    for key in await self._requests.answered_among(list(self._waiting)):
                        for answer in self._waiting.get(key, ()):
                            if not answer.done():
                                answer.set_result(None)
                    await asyncio.sleep(PAUSE_S)
                    await notified(LOOK_S)
        except Exception as fault:  # whoever waits has it
            for answer in [each for answers in self._waiting.values() for each in answers]:
                if not answer.done():
                    answer.set_exception(fault)
