"""Purchases through an agent, as the command `request` makes them: an update of its workflow, then the ledger.

The command is notified by the ledger; here one process waits for many requests, and polls.
"""

import asyncio
import itertools
import os
import time

from autopay.cli.connect.agent_handle import AgentHandle
from autopay.domain.request import CLOSED, RequestResult, RequestSpec, RequestStatus, x402_request_id
from benchmarks.payments.bare import timed
from benchmarks.payments.figures import Speed
from benchmarks.payments.town import AGENT, Town

PATIENCE_S = 120
FIRST_POLL_S = 0.02
LAST_POLL_S = 0.5


class AgentBuyer:
    """Buys through one agent."""

    def __init__(self, here: Town, agent: str = AGENT) -> None:
        self._here = here
        self._agent = agent
        self._handle = AgentHandle(here.client, agent, here.settings.task_queue)
        self._run = os.urandom(3).hex()
        self._numbers = itertools.count()
        self.bought: list[str] = []

    async def buy(self, url: str) -> float:
        """Seconds until the ledger says that it is delivered."""
        request_id = f"{self._run}-{next(self._numbers)}"
        began = time.perf_counter()
        await self._handle.request(RequestSpec(request_id=request_id, url=url), PATIENCE_S)
        result = await self._end_of(request_id)
        if result.status is not RequestStatus.DELIVERED:
            raise RuntimeError(f"{request_id} ended as {result.status}: {result.error}")
        self.bought.append(request_id)
        return time.perf_counter() - began

    async def buy_all(self, url: str, at_once: int, count: int) -> Speed:
        """That many, so many at once."""
        return await timed(lambda: self.buy(url), at_once, count)

    async def _end_of(self, request_id: str) -> RequestResult:
        key, pause = x402_request_id(self._agent, request_id), FIRST_POLL_S
        async with asyncio.timeout(PATIENCE_S):
            while (result := await self._here.ledger.requests.result(key)).status not in CLOSED:
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, LAST_POLL_S)
        return result
