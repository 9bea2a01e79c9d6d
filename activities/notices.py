"""Notices of payments to their agents: gathered in the worker's process, and sent as one signal for many.

A payment's own history has one marker for a notice, and its agent's one signal for all that came within `GATHER`.

| what is lost | what follows |
|---|---|
| the process, after the marker and before the signal | the agent finds the end in the ledger, within a minute |
| the process, before the marker | the step runs again, the agent gets the notice twice, and ignores the second |
| Temporal, for longer than the tries | the notices are dropped with a log line; the agent finds them in the ledger |
| the agent's workflow | nothing waits for them; the next agent of that name reads the ledger when it begins |
"""

import asyncio
from datetime import timedelta

import structlog
from temporalio import activity
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from autopay.domain.backoff import Backoff
from autopay.domain.payment.notice import Announcement, Notice
from autopay.domain.request import agent_workflow_id

GATHER = timedelta(milliseconds=25)
"""How long a notice waits for others: long enough for what ends together, short for a slot that becomes free."""

MOST_IN_A_SIGNAL = 200
"""A notice takes 2 kB at most, and a payload may have 2 MB."""

TRIES = 5
AGAIN = Backoff(timedelta(milliseconds=200), timedelta(seconds=2))
ONE_TRY = timedelta(seconds=5)

CLOSE_WITHIN = timedelta(seconds=10)

log = structlog.get_logger("autopay.notices")


class NoticeOutbox:
    """Sends each agent its notices in the order in which they came, one signal at a time."""

    def __init__(self, gather: timedelta = GATHER) -> None:
        self._gather = gather
        self._waiting: dict[str, list[Notice]] = {}
        self._sending: dict[str, asyncio.Task[None]] = {}
        self._closing = asyncio.Event()

    def put(self, client: Client, announcement: Announcement) -> None:
        """Send it soon; returns at once."""
        agent = announcement.agent
        self._waiting.setdefault(agent, []).append(announcement.notice)
        if agent not in self._sending:
            self._sending[agent] = asyncio.create_task(self._send_all(client, agent))

    async def close(self) -> None:
        """Send at once what waits, with one try; returns when that is done, or after `CLOSE_WITHIN`."""
        self._closing.set()
        if self._sending:
            await asyncio.wait(self._sending.values(), timeout=CLOSE_WITHIN.total_seconds())

    async def _send_all(self, client: Client, agent: str) -> None:
        """Send what waits for this agent, until nothing does; a task of its own, so that no agent waits for another."""
        try:
            while self._waiting.get(agent):
                await self._pause(self._gather)
                waiting = self._waiting[agent]
                batch, self._waiting[agent] = waiting[:MOST_IN_A_SIGNAL], waiting[MOST_IN_A_SIGNAL:]
                await self._send(client, agent, batch)
        finally:
            self._waiting.pop(agent, None)
            del self._sending[agent]

    async def _send(self, client: Client, agent: str, batch: list[Notice]) -> None:
        handle = client.get_workflow_handle(agent_workflow_id(agent))
        for tried in range(TRIES):
            try:
                await handle.signal("notices", batch, rpc_timeout=ONE_TRY)
            except RPCError as error:
                if error.status == RPCStatusCode.NOT_FOUND:
                    log.info("the agent is not running, and is told nothing", agent=agent, notices=len(batch))
                    return
                if tried == TRIES - 1 or self._closing.is_set():
                    log.warning(
                        "notices are lost, the agent finds them in the ledger",
                        agent=agent,
                        notices=len(batch),
                        error=error.message,
                    )
                    return
                await self._pause(AGAIN.wait(tried))
            except Exception:  # a notice that cannot be sent must not keep back those after it
                log.exception("notices are lost, the agent finds them in the ledger", agent=agent, notices=len(batch))
                return
            else:
                return

    async def _pause(self, wait: timedelta) -> None:
        """Wait, unless the worker stops."""
        try:
            await asyncio.wait_for(self._closing.wait(), wait.total_seconds())
        except TimeoutError:
            return


class AnnounceStep:
    """Hands a payment's notice to the outbox."""

    def __init__(self, outbox: NoticeOutbox) -> None:
        self._outbox = outbox

    @activity.defn(name="announce")
    async def announce(self, announcement: Announcement) -> None:
        """Returns at once: a notice that is lost holds up no payment."""
        self._outbox.put(activity.client(), announcement)
