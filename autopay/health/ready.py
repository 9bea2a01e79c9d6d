"""Whether a process can do its work: each part that it needs is asked, and not more often for many who want to know."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

import structlog
from sqlalchemy import text
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import Worker

from autopay.adapters.postgres import PostgresLedger
from autopay.adapters.recent import Recent
from autopay.domain.errors import Fault, SettingsError

PartState = Literal["ok", "starting", "failed"]
Check = Callable[[], Awaitable[object]]

LIMIT_S = 3.0
"""Seconds in which a part must answer."""

MAX_AGE_S = 5.0
"""Seconds for which an answer is good: strangers may ask, and a node counts what it is asked."""

log = structlog.get_logger("autopay.health")


class NotWorking(Exception):
    """A part answers, and does not do what it is for."""


class Readiness:
    """What is known of the parts of one process, by names; each is `starting` until `watch` says how to ask it.

    Args:
        parts: their names, in the order in which they are shown.
        limit_s: seconds in which a part must answer.
        max_age_s: seconds for which an answer is good.
    """

    def __init__(self, *parts: str, limit_s: float = LIMIT_S, max_age_s: float = MAX_AGE_S) -> None:
        self._checks: dict[str, Check | None] = dict.fromkeys(parts)
        self._limit_s, self._max_age_s = limit_s, max_age_s
        self._recent = Recent()
        self._failed: set[str] = set()
        self.is_stopping = False

    def watch(self, **checks: Check) -> None:
        """From now on these parts are asked so: what is raised says that the part does not work."""
        assert checks.keys() <= self._checks.keys()
        self._checks |= checks

    async def states(self) -> Mapping[str, PartState]:
        """The state of each part, at most `max_age_s` old."""
        states = await asyncio.gather(*(self._state(name, check) for name, check in self._checks.items()))
        return dict(zip(self._checks, states, strict=True))

    async def answer(self) -> tuple[int, Mapping[str, object]]:
        """What `/readyz` says: 200 or 503, and names and states only, as whoever asks is a stranger."""
        if self.is_stopping:
            return 503, {"status": "stopping"}
        states = await self.states()
        ready = all(state == "ok" for state in states.values())
        return 200 if ready else 503, {"status": "ready" if ready else "not ready", "parts": states}

    async def _state(self, name: str, check: Check | None) -> PartState:
        if check is None:
            return "starting"
        return await self._recent.get(name, self._max_age_s, lambda: self._asked(name, check))

    async def _asked(self, name: str, check: Check) -> PartState:
        """Ask it; why it does not work is in the log, once until it works again."""
        try:
            async with asyncio.timeout(self._limit_s):
                await check()
        except (Fault, SettingsError, RPCError, NotWorking, TimeoutError) as error:
            if name not in self._failed:
                log.warning("not ready", part=name, error=str(error) or f"no answer within {self._limit_s:g} s")
                self._failed.add(name)
            return "failed"
        self._failed.discard(name)
        return "ok"


async def ask_ledger(ledger: PostgresLedger) -> None:
    """Whether the database answers; raises LedgerUnavailable."""
    async with ledger.database.transaction() as db:
        await db.execute(text("SELECT 1"))


async def ask_temporal(client: Client) -> None:
    """Whether Temporal answers; raises RPCError or NotWorking."""
    if not await client.service_client.check_health():
        raise NotWorking("Temporal says that it does not serve")


async def ask_workers(*workers: Worker) -> None:
    """Whether all of them ask Temporal for work; raises NotWorking."""
    if not all(each.is_running for each in workers):
        raise NotWorking("a worker has stopped asking for work")
