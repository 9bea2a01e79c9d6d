"""Notices of payments to their agents: collected in the worker's process, and sent in batches, one signal a batch.

A payment's history has one marker for each notice, its agent's history one signal for each batch.

| what is lost | what follows |
|---|---|
| the process, after the marker and before the signal | the agent finds the end in the ledger, within a minute |
| the process, before the marker | the activity runs again; the agent ignores a notice that comes twice |
| Temporal, for longer than the retries | the notices are dropped and logged; the agent finds the ends in the ledger |
| the agent's workflow | they are dropped; the next agent of that name reads the ledger when it begins |
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

DELAY = timedelta(milliseconds=20)
"""How long a notice waits for others to join its batch: short, as it may free a slot of the agent."""

MIN_INTERVAL = timedelta(milliseconds=150)
"""The shortest time between two signals to one agent: seven a second keep its history small."""

SETTLED_DELAY = timedelta(seconds=1)
"""The same for a notice that a delivered payment is final: its slot has been free since the seller's answer."""

MAX_PER_SIGNAL = 200
"""A notice has at most 2 kB, and Temporal takes payloads of up to 2 MB."""

TRIES = 5
RETRY = Backoff(timedelta(milliseconds=200), timedelta(seconds=2))
RPC_TIMEOUT = timedelta(seconds=5)

CLOSE_TIMEOUT = timedelta(seconds=10)

log = structlog.get_logger("autopay.notices")


class _Pending:
    """The notices that wait for one agent; `due` is when to send them, by the event loop's clock."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []
        self.due = 0.0
        self.changed = asyncio.Event()

    def add(self, notice: Notice, due: float) -> None:
        """Add a notice; all of them are sent when the first is due."""
        self.due = min(self.due, due) if self.notices else due
        self.notices.append(notice)
        self.changed.set()


class NoticeOutbox:
    """Sends each agent its notices in the order in which they came, one signal at a time."""

    def __init__(
        self, delay: timedelta = DELAY, settled_delay: timedelta = SETTLED_DELAY, interval: timedelta = MIN_INTERVAL
    ) -> None:
        self._delay, self._settled_delay = delay.total_seconds(), settled_delay.total_seconds()
        self._interval = interval.total_seconds()
        self._waiting: dict[str, _Pending] = {}
        self._sending: dict[str, asyncio.Task[None]] = {}
        self._sent_at: dict[str, float] = {}
        self._closing = asyncio.Event()

    def put(self, client: Client, announcement: Announcement) -> None:
        """Have the notice sent after its delay; returns at once."""
        agent, notice = announcement.agent, announcement.notice
        has_settled = notice.final and notice.status is RequestStatus.DELIVERED
        due = asyncio.get_running_loop().time() + (self._settled_delay if has_settled else self._delay)
        self._waiting.setdefault(agent, _Pending()).add(notice, due)
        if agent not in self._sending:
            self._sending[agent] = asyncio.create_task(self._send_all(client, agent))

    async def close(self) -> None:
        """Send now what waits, without retries; returns when that is done, or after `CLOSE_TIMEOUT`."""
        self._closing.set()
        for waiting in self._waiting.values():
            waiting.changed.set()
        if self._sending:
            await asyncio.wait(self._sending.values(), timeout=CLOSE_TIMEOUT.total_seconds())

    async def _send_all(self, client: Client, agent: str) -> None:
        """Send batches to this agent until nothing waits; a task for each agent, so that none waits for another."""
        waiting = self._waiting[agent]
        try:
            while waiting.notices:
                await self._until_due(agent, waiting)
                batch, waiting.notices = waiting.notices[:MAX_PER_SIGNAL], waiting.notices[MAX_PER_SIGNAL:]
                await self._send(client, agent, batch)
                self._sent_at[agent] = asyncio.get_running_loop().time()
        finally:
            del self._waiting[agent], self._sending[agent]

    async def _until_due(self, agent: str, waiting: _Pending) -> None:
        """Wait until the batch is due and `MIN_INTERVAL` has passed since the last signal; not while closing."""
        clock = asyncio.get_running_loop().time
        earliest = self._sent_at.get(agent, -self._interval) + self._interval
        while not self._closing.is_set() and (wait := max(waiting.due, earliest) - clock()) > 0:
            waiting.changed.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(waiting.changed.wait(), wait)

    async def _send(self, client: Client, agent: str, batch: list[Notice]) -> None:
        handle = client.get_workflow_handle(agent_workflow_id(agent))
        for tried in range(TRIES):
            try:
                await handle.signal("notices", batch, rpc_timeout=RPC_TIMEOUT)
            except RPCError as error:
                if error.status == RPCStatusCode.NOT_FOUND:
                    log.info("notices are dropped: the agent is not running", agent=agent, notices=len(batch))
                    return
                if tried == TRIES - 1 or self._closing.is_set():
                    log.warning(
                        "notices are dropped: the agent reads the ledger",
                        agent=agent,
                        notices=len(batch),
                        error=error.message,
                    )
                    return
                await self._pause(RETRY.wait(tried))
            except Exception:  # a notice that cannot be sent must not hold up those after it
                log.exception("notices are dropped: the agent reads the ledger", agent=agent, notices=len(batch))
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
        """Put the notice into the outbox. Returns at once: no payment waits for its notice."""
        self._outbox.put(activity.client(), announcement)
