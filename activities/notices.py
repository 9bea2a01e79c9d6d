"""Notices of payments to their agents: gathered in the worker's process, and sent as one signal for many.

A payment's own history has one marker for a notice, and its agent's one signal for all that came within a moment.

| what is lost | what follows |
|---|---|
| the process, after the marker and before the signal | the agent finds the end in the ledger, within a minute |
| the process, before the marker | the step runs again, the agent gets the notice twice, and ignores the second |
| Temporal, for longer than the tries | the notices are dropped with a log line; the agent finds them in the ledger |
| the agent's workflow | nothing waits for them; the next agent of that name reads the ledger when it begins |
"""

import asyncio
from contextlib import suppress
from datetime import timedelta

import structlog
from temporalio import activity
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from autopay.domain.backoff import Backoff
from autopay.domain.payment.notice import Announcement, Notice
from autopay.domain.request import RequestStatus, agent_workflow_id

SOON = timedelta(milliseconds=20)
"""How long a notice waits for others: short, as it may give an agent a free slot."""

BETWEEN = timedelta(milliseconds=100)
"""The shortest time between two signals to one agent: at ten a second it has few events for many payments."""

LATER = timedelta(seconds=1)
"""How long a notice waits for others that says that a payment has settled: its slot has been free since its answer."""

MOST_IN_A_SIGNAL = 200
"""A notice takes 2 kB at most, and a payload may have 2 MB."""

TRIES = 5
AGAIN = Backoff(timedelta(milliseconds=200), timedelta(seconds=2))
ONE_TRY = timedelta(seconds=5)

CLOSE_WITHIN = timedelta(seconds=10)

log = structlog.get_logger("autopay.notices")


class _Waiting:
    """What waits for one agent; `due` is when it is to be sent, by the event loop's clock."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []
        self.due = 0.0
        self.changed = asyncio.Event()

    def add(self, notice: Notice, due: float) -> None:
        """One more; all of them are sent when the first is due."""
        self.due = min(self.due, due) if self.notices else due
        self.notices.append(notice)
        self.changed.set()


class NoticeOutbox:
    """Sends each agent its notices in the order in which they came, one signal at a time."""

    def __init__(self, soon: timedelta = SOON, later: timedelta = LATER, between: timedelta = BETWEEN) -> None:
        self._soon, self._later, self._between = (each.total_seconds() for each in (soon, later, between))
        self._waiting: dict[str, _Waiting] = {}
        self._sending: dict[str, asyncio.Task[None]] = {}
        self._sent_at: dict[str, float] = {}
        self._closing = asyncio.Event()

    def put(self, client: Client, announcement: Announcement) -> None:
        """Send it soon; returns at once."""
        agent, notice = announcement.agent, announcement.notice
        has_settled = notice.final and notice.status is RequestStatus.DELIVERED
        due = asyncio.get_running_loop().time() + (self._later if has_settled else self._soon)
        self._waiting.setdefault(agent, _Waiting()).add(notice, due)
        if agent not in self._sending:
            self._sending[agent] = asyncio.create_task(self._send_all(client, agent))

    async def close(self) -> None:
        """Send at once what waits, with one try; returns when that is done, or after `CLOSE_WITHIN`."""
        self._closing.set()
        for waiting in self._waiting.values():
            waiting.changed.set()
        if self._sending:
            await asyncio.wait(self._sending.values(), timeout=CLOSE_WITHIN.total_seconds())

    async def _send_all(self, client: Client, agent: str) -> None:
        """Send what waits for this agent, until nothing does; a task of its own, so that no agent waits for another."""
        waiting = self._waiting[agent]
        try:
            while waiting.notices:
                await self._until_due(agent, waiting)
                batch, waiting.notices = waiting.notices[:MOST_IN_A_SIGNAL], waiting.notices[MOST_IN_A_SIGNAL:]
                await self._send(client, agent, batch)
                self._sent_at[agent] = asyncio.get_running_loop().time()
        finally:
            del self._waiting[agent], self._sending[agent]

    async def _until_due(self, agent: str, waiting: _Waiting) -> None:
        """Until the first is due, and some time has passed since the last signal; at once when the worker stops."""
        clock = asyncio.get_running_loop().time
        earliest = self._sent_at.get(agent, -self._between) + self._between
        while not self._closing.is_set() and (wait := max(waiting.due, earliest) - clock()) > 0:
            waiting.changed.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(waiting.changed.wait(), wait)

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
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), wait.total_seconds())


class AnnounceStep:
    """Hands a payment's notice to the outbox."""

    def __init__(self, outbox: NoticeOutbox) -> None:
        self._outbox = outbox

    @activity.defn(name="announce")
    async def announce(self, announcement: Announcement) -> None:
        """Returns at once: a notice that is lost holds up no payment."""
        self._outbox.put(activity.client(), announcement)
