"""Many wait for the ends of their requests by one listener and one reading of the ledger."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from autopay.adapters import answers
from autopay.adapters.answers import AnswerWatch
from autopay.domain.errors import LedgerUnavailable


class Ledger:
    """A ledger in memory: which requests have ended, and how often it was asked."""

    def __init__(self) -> None:
        self.ended = set[str]()
        self.reads: list[tuple[str, ...]] = []
        self.listeners = 0
        self.listened, self.left = asyncio.Event(), asyncio.Event()
        self.fault: Exception | None = None
        self.listening_fault: Exception | None = None
        self.read = asyncio.Event()
        self._changed = asyncio.Event()

    async def answered_among(self, request_keys: Sequence[str]) -> Sequence[str]:
        """Those of them that have ended."""
        self.reads.append(tuple(request_keys))
        self.read.set()
        if self.fault is not None:
            raise self.fault
        return [each for each in request_keys if each in self.ended]

    def commit(self, *ended: str) -> None:
        """Requests end, and everybody is notified."""
        self.ended |= set(ended)
        self._changed.set()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Any]:
        """Notifications of commits."""
        if self.listening_fault is not None:
            raise self.listening_fault
        self.listeners += 1
        self.listened.set()

        async def notified(within_s: float) -> bool:
            try:
                async with asyncio.timeout(within_s):
                    await self._changed.wait()
            except TimeoutError:
                return False
            self._changed.clear()
            return True

        try:
            yield notified
        finally:
            self.listeners -= 1
            self.left.set()


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
async def ends(ledger: Ledger) -> AsyncIterator[AnswerWatch]:
    ends = AnswerWatch(ledger, ledger.listening)
    yield ends
    await ends.close()


async def begun(ledger: Ledger) -> None:
    """Wait until the ledger is read."""
    await asyncio.wait_for(ledger.read.wait(), 30)


async def test_hundreds_wait_by_one_listener_and_each_hears_of_its_own(ledger: Ledger, ends: AnswerWatch) -> None:
    waiting = {key: asyncio.create_task(ends.answered(key, 30)) for key in (f"r{number}" for number in range(300))}
    await begun(ledger)
    assert (ledger.listeners, len(ledger.reads), len(ledger.reads[0])) == (1, 1, 300)
    ledger.commit("r7")
    assert await waiting.pop("r7")
    assert not any(task.done() for task in waiting.values())
    ledger.commit(*waiting)
    assert await asyncio.gather(*waiting.values()) == [True] * 299
    assert len(ledger.reads) <= 4


async def test_two_who_wait_for_one_request_both_hear_of_its_end(ledger: Ledger, ends: AnswerWatch) -> None:
    waiting = [asyncio.create_task(ends.answered("r", 30)) for _ in range(2)]
    await begun(ledger)
    ledger.commit("r")
    assert await asyncio.gather(*waiting) == [True, True]


async def test_what_had_ended_before_is_found_at_once(ledger: Ledger, ends: AnswerWatch) -> None:
    ledger.ended = {"r"}
    assert await ends.answered("r", 30)


async def test_who_waits_in_vain_is_told_so_and_is_not_looked_for_any_more(ledger: Ledger, ends: AnswerWatch) -> None:
    assert not await ends.answered("r", 0.01)
    ledger.reads.clear()
    ledger.ended = {"other"}
    assert await ends.answered("other", 30)
    assert ledger.reads == [("other",)]


async def test_who_is_cancelled_does_not_keep_others_from_hearing(ledger: Ledger, ends: AnswerWatch) -> None:
    leaving, staying = (asyncio.create_task(ends.answered("r", 30)) for _ in range(2))
    await begun(ledger)
    leaving.cancel()
    ledger.commit("r")
    assert await staying
    with pytest.raises(asyncio.CancelledError):
        await leaving


async def test_an_error_of_the_ledger_is_everybodys_and_the_next_to_wait_begins_anew(
    ledger: Ledger, ends: AnswerWatch
) -> None:
    ledger.fault = LedgerUnavailable("away")
    waiting = [asyncio.create_task(ends.answered(key, 30)) for key in "ab"]
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(each) for each in found] == [LedgerUnavailable] * 2
    ledger.fault, ledger.ended = None, {"a"}
    assert await ends.answered("a", 30)


async def test_an_error_of_the_listener_is_everybodys_too(ledger: Ledger, ends: AnswerWatch) -> None:
    ledger.listening_fault = ValueError("what is this")
    with pytest.raises(ValueError, match="what is this"):
        await ends.answered("a", 30)
    ledger.listening_fault, ledger.ended = None, {"a"}
    assert await ends.answered("a", 30)


async def test_without_notifications_the_ledger_is_looked_at_all_the_same(
    ledger: Ledger, ends: AnswerWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autopay.adapters.answers.LOOK_S", 0.01)
    ledger.listening_fault = LedgerUnavailable("no connection is left")
    waiting = asyncio.create_task(ends.answered("a", 30))
    await begun(ledger)
    ledger.ended = {"a"}
    assert await waiting


async def test_closing_tells_who_waits_and_who_comes_later(ledger: Ledger, ends: AnswerWatch) -> None:
    waiting = asyncio.create_task(ends.answered("a", 30))
    await begun(ledger)
    await ends.close()
    for doing in (waiting, ends.answered("a", 30)):
        with pytest.raises(RuntimeError, match="closed"):
            await doing
    assert ledger.listeners == 0
    await ends.close()


async def test_nobody_listens_while_nobody_waits(
    ledger: Ledger, ends: AnswerWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "IDLE_S", 0.01)
    ledger.ended.add("one")
    assert await ends.answered("one", 5)
    await asyncio.wait_for(ledger.left.wait(), 30)
    assert ledger.listeners == 0
    ledger.ended.add("two")
    assert await ends.answered("two", 5)


async def test_lost_notifications_are_asked_for_again(
    ledger: Ledger, ends: AnswerWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "LOOK_S", 0.01)
    monkeypatch.setattr(answers, "LISTEN_AGAIN_S", 0)
    ledger.listening_fault = LedgerUnavailable()
    waiting = asyncio.create_task(ends.answered("one", 5))
    await begun(ledger)
    assert ledger.listeners == 0
    ledger.listening_fault = None
    await asyncio.wait_for(ledger.listened.wait(), 30)
    ledger.commit("one")
    assert await waiting


async def test_it_closes_even_when_its_cancellation_is_lost() -> None:
    """Python 3.11 loses one that comes together with a notification; who waits must not keep it at work for ever."""

    class Deaf(Ledger):
        @asynccontextmanager
        async def listening(self) -> AsyncIterator[Any]:
            async with super().listening() as notified:

                async def deaf(within_s: float) -> bool:
                    listens.set()
                    try:
                        return bool(await notified(within_s))
                    except asyncio.CancelledError:
                        return True

                yield deaf

    listens = asyncio.Event()
    ledger = Deaf()
    ends = AnswerWatch(ledger, ledger.listening)
    waiting = asyncio.create_task(ends.answered("a", 60))
    async with asyncio.timeout(20):
        await listens.wait()
        await ends.close()
    with pytest.raises(RuntimeError, match="closed"):
        await waiting
