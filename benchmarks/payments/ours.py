"""Purchases through an agent, as the command `request` makes them: an update of its workflow, then the ledger.

Like the command, it is notified by the ledger; one listener looks for all that wait.
"""

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from sqlalchemy import select

from autopay.adapters.postgres.tables.core import RequestRow
from autopay.cli.connect.agent_handle import AgentHandle
from autopay.cli.connect.ledger_changes import ledger_changes
from autopay.domain.payment.status import Delivery
from autopay.domain.request import RequestSpec, x402_request_id
from benchmarks.payments.bare import timed
from benchmarks.payments.figures import Speed
from benchmarks.payments.town import AGENT, Town

PATIENCE_S = 120
LOOK_EVERY_S = 0.5
"""When no notification comes."""


class AgentBuyer:
    """Buys through one agent, or through several in turn."""

    def __init__(self, here: Town, agents: Sequence[str] = (AGENT,)) -> None:
        self._here = here
        self._handles = itertools.cycle(
            (each, AgentHandle(here.client, each, here.settings.task_queue)) for each in agents
        )
        self._run = os.urandom(3).hex()
        self._numbers = itertools.count()
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._look = asyncio.Event()
        self.bought: list[str] = []

    async def buy(self, url: str) -> float:
        """Seconds until the ledger says that it is delivered."""
        request_id = f"{self._run}-{next(self._numbers)}"
        agent, handle = next(self._handles)
        began = time.perf_counter()
        await handle.request(RequestSpec(request_id=request_id, url=url), PATIENCE_S)
        await self._end_of(x402_request_id(agent, request_id))
        self.bought.append(request_id)
        return time.perf_counter() - began

    async def buy_all(self, url: str, at_once: int, count: int) -> Speed:
        """That many, so many at once."""
        return await timed(lambda: self.buy(url), at_once, count)

    async def _end_of(self, key: str) -> None:
        ended = self._waiting[key] = asyncio.get_running_loop().create_future()
        self._look.set()
        async with asyncio.timeout(PATIENCE_S):
            await ended

    async def _watch(self) -> None:
        columns = select(RequestRow.x402_request_id, RequestRow.delivery, RequestRow.result)
        async with ledger_changes(self._here.ledger) as changes:
            while True:
                await self._look.wait()
                async with self._here.ledger.database.transaction() as db:
                    found = (await db.execute(columns.where(RequestRow.x402_request_id.in_(self._waiting)))).all()
                for key, delivery, result in found:
                    if delivery is Delivery.DELIVERED:
                        self._waiting.pop(key).set_result(None)
                    elif result is not None:
                        self._waiting.pop(key).set_exception(RuntimeError(f"{key} ended as {result}"))
                if not self._waiting:
                    self._look.clear()
                    changes.was_useful()  # a command has its own wait
                else:
                    await changes.wait(LOOK_EVERY_S)


@asynccontextmanager
async def agent_buyer(here: Town, agents: Sequence[str] = (AGENT,)) -> AsyncIterator[AgentBuyer]:
    """A buyer that watches the ledger."""
    buyer = AgentBuyer(here, agents)
    watching = asyncio.create_task(buyer._watch())
    try:
        yield buyer
    finally:
        watching.cancel()
