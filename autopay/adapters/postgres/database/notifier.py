"""Wakes readers of events: one NOTIFY for many changes, outside the transactions that made them.

A NOTIFY inside a payment's transaction would make all commits wait for each other: PostgreSQL takes one lock for the
whole server while a transaction that notifies commits. This one is sent after the commit, by nobody who pays.
"""

import asyncio
from contextlib import suppress

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from autopay.adapters.postgres.database.connection import AUTOCOMMIT

CHANNEL = "autopay_events"

INTERVAL_S = 0.02
"""A NOTIFY is sent at most this often, however much is written."""


class Notifier:
    """Notifies readers after changes. One that is lost (a crash, an outage) costs them the time until they poll."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._due = False
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def notify(self) -> None:
        """Something was committed. Returns at once."""
        self._due = True
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._send())

    async def close(self) -> None:
        """Send what is due, and end."""
        self._closing.set()
        if self._task is not None:
            await self._task
        self._closing.clear()

    async def _send(self) -> None:
        while self._due:
            self._due = False
            try:
                async with self._engine.connect() as connection:
                    alone = await connection.execution_options(isolation_level=AUTOCOMMIT)
                    await alone.execute(text(f"NOTIFY {CHANNEL}"))
            except (SQLAlchemyError, OSError) as error:
                import structlog  # noqa: PLC0415 (slow to load, and commands write the ledger, too)

                log = structlog.get_logger("autopay.ledger")
                log.info("readers were not woken, they look by themselves", error=type(error).__name__)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), INTERVAL_S)
