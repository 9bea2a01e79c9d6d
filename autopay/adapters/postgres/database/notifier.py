"""Wakes readers of events: one NOTIFY for many changes, outside the transactions that made them.

A NOTIFY inside a payment's transaction would make all commits wait for each other: PostgreSQL takes one lock for the
whole server while a transaction that notifies commits. This one is sent after the commit, by nobody who pays.
"""

import asyncio
import math
import time
from contextlib import suppress

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from autopay.adapters.postgres.database.connection import NO_TRANSACTION

CHANNEL = "autopay_events"

INTERVAL_S = 0.05
"""A NOTIFY is sent at most this often, however much is written."""

LATER_S = 0.25
"""How long a change may wait for others to be notified with, when nobody waits for it."""


class Notifier:
    """Notifies readers after changes. One that is lost (a crash, an outage) costs them the time until they poll."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._due_at = math.inf
        self._not_before = -math.inf
        self._sooner = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    def notify(self, within_s: float = 0) -> None:
        """Something was committed; readers are to know within that time. Returns at once."""
        self._due_at = min(self._due_at, time.monotonic() + within_s)
        self._sooner.set()
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._send_when_due())

    async def close(self) -> None:
        """Send what is due, and end."""
        self._closing = True
        self._sooner.set()
        if self._task is not None:
            await self._task
        self._closing = False

    async def _send_when_due(self) -> None:
        while self._due_at < math.inf:
            await self._wait_until_due()
            self._due_at = math.inf  # what is committed from here on is not seen by who is notified now
            await self._send()
            self._not_before = time.monotonic() + INTERVAL_S

    async def _wait_until_due(self) -> None:
        while not self._closing and (left := max(self._due_at, self._not_before) - time.monotonic()) > 0:
            self._sooner.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._sooner.wait(), left)

    async def _send(self) -> None:
        try:
            async with self._engine.connect() as connection:
                alone = await connection.execution_options(**NO_TRANSACTION)
                await alone.exec_driver_sql(f"NOTIFY {CHANNEL}")
        except (SQLAlchemyError, OSError) as error:
            import structlog  # noqa: PLC0415 (slow to load, and commands write the ledger, too)

            log = structlog.get_logger("autopay.ledger")
            log.info("readers were not woken, they look by themselves", error=type(error).__name__)
