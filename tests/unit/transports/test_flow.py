"""Calls with keys and without, which end in any order in any way: what is paid is answered, once."""

import asyncio
from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from autopay.client.async_client import AsyncClient
from autopay.client.errors import AutopayError, Unreachable
from autopay.client.requests.listener import NOBODY, Listener
from autopay.client.values import Ask, Purchase
from autopay.domain.request import RequestStatus
from autopay.transport.answers import Answer
from autopay.transport.bodies import Beginning, KeptBody
from autopay.transport.demand import NotPaid
from autopay.transport.flow import Asked, Buy, Recall, Step, run_async, steps
from autopay.transport.options import Limits
from autopay.transport.payer import Payer
from autopay.transport.unanswered import UnansweredCalls
from tests.unit.bought import AGENT, MemoryBackend

Request = tuple[str, str | None]
"""A URL, and the caller's key."""


class LosesAnswers(MemoryBackend):
    """Buys, and then raises `then` in place of its answer, when it is set. What is paid is not refused any more."""

    then: BaseException | None = None

    async def buy(self, agent: str, ask: Ask, listener: Listener = NOBODY) -> Purchase:
        """The purchase."""
        if ask.id in self.paid and self.ends == [ENDINGS["refused"]]:
            self.ends = [ENDINGS["delivered"]]
        purchase = await super().buy(agent, ask, listener)
        if self.then is not None:
            raise self.then
        return purchase


class Failed(Exception):
    """A library's error."""


class Plain:
    """A library whose requests are `Request`s, and whose answers are the ids of purchases."""

    status_code = 402

    def asked(self, request: Request) -> Asked:
        """See the port."""
        url, key = request
        return Asked("GET", f"https://shop.example/{url}", [], None if key is None else {"id": key})

    def prepared(self, request: Request) -> tuple[Request, KeptBody]:
        """See the port."""
        return request, KeptBody.of(b"")

    def demand(self, response: Any, beginning: Beginning) -> str:
        """See the port."""
        return "demand"

    def answered(self, request: Request, answer: Answer) -> str:
        """See the port."""
        return answer.receipt.id

    def passed_on(self, demand: Any, why: NotPaid) -> Any:
        """See the port."""
        raise AssertionError(why)

    def error(self, request: Request, error: AutopayError, demand: Any) -> Exception:
        """See the port."""
        return Failed(str(error))


ENDINGS: dict[str, Any] = {
    "delivered": {},
    "waits": {"status": RequestStatus.WAITING, "content": None},
    "undelivered": {"status": RequestStatus.UNDELIVERED, "content": None},
    "refused": {"status": RequestStatus.REFUSED, "content": None},
    "away": Unreachable("before it was asked"),
    "lost": {},
    "given up": {},
}
THEN = {"lost": Unreachable("the connection was lost"), "given up": asyncio.CancelledError()}
CALLS = st.lists(
    st.tuples(
        st.tuples(st.sampled_from("ab"), st.sampled_from([None, None, "a-key", "b-key"])),
        st.sampled_from(sorted(ENDINGS)),
    ),
    max_size=25,
)


@given(CALLS)
def test_what_is_paid_is_answered_once_or_is_still_to_be_asked_for(calls: list[tuple[Request, str]]) -> None:
    asyncio.run(_check(calls))


async def _check(calls: list[tuple[Request, str]]) -> None:
    backend = LosesAnswers()
    client = AsyncClient.__new__(AsyncClient)
    client.__dict__.update(agent=AGENT, _backend=backend, _is_closed=False, _loop=None)
    unanswered = UnansweredCalls()
    payer, library = Payer(lambda: client, unanswered), Plain()
    answered = Counter[str]()

    async def do(step: Step) -> Any:
        match step:
            case Recall(call):
                return await payer.recall(call)
            case Buy(call):
                return await payer.buy(call)
            case _:
                return library

    for (url, key), ending in calls:
        request = (url, None if key is None else f"{url}-{key}")
        backend.ends, backend.then = [ENDINGS[ending]], THEN.get(ending)
        try:
            found = await run_async(steps(library, unanswered, Limits(), request), do)
        except (Failed, asyncio.CancelledError):
            continue
        if key is not None:
            assert found == request[1]
        else:
            answered[found] += 1
    paid = Counter(backend.paid)
    assert set(paid.values()) <= {1}
    assert set(answered.values()) <= {1}, "two calls without a key never share a purchase"
    left = {unanswered.take(text) for text in [asked for asked, _ in list(unanswered._ids.values())]}
    assert {each for each in paid if each.startswith("http-")} == {*answered, *(left & set(paid))}
