"""Purchases through an agent, as the client library makes them: an update of its workflow, then the ledger."""

import itertools
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from autopay.adapters.answers import AnswerWatch
from autopay.client.agents.handle import AgentHandle
from autopay.domain.request import RequestSpec, RequestStatus, x402_request_id
from benchmarks.payments.bare import timed
from benchmarks.payments.figures import Speed
from benchmarks.payments.town import AGENT, Town

PATIENCE_S = 120


class AgentBuyer:
    """Buys through one agent, or through several in turn."""

    def __init__(self, here: Town, answers: AnswerWatch, agents: Sequence[str]) -> None:
        self._here = here
        self._answers = answers
        self._handles = itertools.cycle(
            (each, AgentHandle(here.client, each, here.settings.task_queue)) for each in agents
        )
        self._run = os.urandom(3).hex()
        self._numbers = itertools.count()
        self.bought: list[str] = []

    async def buy(self, url: str) -> float:
        """Seconds until the ledger says that it is delivered."""
        request_id = f"{self._run}-{next(self._numbers)}"
        agent, handle = next(self._handles)
        key = x402_request_id(agent, request_id)
        began = time.perf_counter()
        await handle.request(RequestSpec(request_id=request_id, url=url), PATIENCE_S)
        if not await self._answers.answered(key, PATIENCE_S):
            raise TimeoutError(f"{key} has not ended after {PATIENCE_S} s")
        took_s = time.perf_counter() - began
        result = await self._here.ledger.requests.result(key)
        if result.status is not RequestStatus.DELIVERED:
            raise RuntimeError(f"{key} ended as {result}")
        self.bought.append(request_id)
        return took_s

    async def buy_all(self, url: str, at_once: int, count: int) -> Speed:
        """That many, so many at once."""
        return await timed(lambda: self.buy(url), at_once, count)


@asynccontextmanager
async def agent_buyer(here: Town, agents: Sequence[str] = (AGENT,)) -> AsyncIterator[AgentBuyer]:
    """A buyer that watches the ledger."""
    answers = AnswerWatch(here.ledger.requests, here.ledger.events.listening)
    try:
        yield AgentBuyer(here, answers, agents)
    finally:
        await answers.close()
