"""`UpkeepStep`: does one duty of the ledger's upkeep, and records in the ledger what came of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol
from uuid import UUID

import structlog
from temporalio import activity

from autopay.domain.errors import Fault, LedgerUnavailable, PermanentFault, SettingsError
from autopay.domain.upkeep import ACTOR, Duty, UpkeepOrder, UpkeepResult

HEARTBEAT_S = 5.0

Work = Callable[[UpkeepOrder], Awaitable[UpkeepResult]]

log = structlog.get_logger("autopay.upkeep")


class ActionBook(Protocol):
    """Where it is recorded who did what."""

    async def record(
        self, action: str, *, actor: str, via: str, details: dict[str, Any], outcome: str, error: str | None
    ) -> UUID: ...


class UpkeepStep:
    """The duties, each by the function that its command calls.

    Args:
        duties: what to call for each.
        actions: where the results are recorded.
        tries: how many attempts Temporal makes; a fault is recorded as a result with the last one.
    """

    def __init__(self, duties: Mapping[Duty, Work], actions: ActionBook, tries: int) -> None:
        self._duties = duties
        self._actions = actions
        self._tries = tries

    @activity.defn(name="upkeep")
    async def upkeep(self, order: UpkeepOrder) -> UpkeepResult:
        """One run; its result is an event of the ledger, and an error in the log when something does not fit."""
        async with _heartbeats():
            try:
                result = await self._duties[order.duty](order)
            except (Fault, SettingsError) as fault:
                await self._could_not(order.duty, fault)
                raise
            await self._record(result)
        write = log.info if result.ok else log.error
        write(f"upkeep: {result.duty}", ok=result.ok, summary=result.summary, **result.figures)
        return result

    async def _record(self, result: UpkeepResult) -> None:
        await self._actions.record(
            result.duty,
            actor=ACTOR,
            via=ACTOR,
            details={"summary": result.summary, **result.figures},
            outcome="done" if result.ok else "failed",
            error=None if result.ok else result.summary,
        )

    async def _could_not(self, duty: Duty, fault: Exception) -> None:
        """Record it when nobody tries again. A ledger that does not answer cannot be told so: the log has it."""
        if not isinstance(fault, PermanentFault) and activity.info().attempt < self._tries:
            log.warning(f"upkeep: {duty} is tried again", fault=str(fault))
            return
        log.error(f"upkeep: {duty} could not be done", fault=str(fault))
        with suppress(LedgerUnavailable):
            await self._record(UpkeepResult(duty=duty, ok=False, summary=f"could not be done: {fault}"))


@asynccontextmanager
async def _heartbeats() -> AsyncIterator[None]:
    async def beat() -> None:
        while True:
            activity.heartbeat()
            await asyncio.sleep(HEARTBEAT_S)

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()
        with suppress(asyncio.CancelledError):
            await beating
