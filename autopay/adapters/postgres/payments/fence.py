"""The fence of a ledger that may not know all that was paid: raised by a restore, or by the chain knowing more.

| crash at | leaves |
|---|---|
| a restore, before the fence is in the restored database | that database is not yet the ledger: workers do not see it |
| between booking and lifting | what is booked; booking again changes nothing, the fence is up still |
"""

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from autopay.adapters.postgres.database.transaction import Database
from autopay.adapters.postgres.tables.fence import FenceRow
from autopay.domain.errors import IllegalTransition, LedgerFenced
from autopay.domain.reconcile.restored import FenceRecord
from autopay.uuid7 import uuid7


class Fence:
    """No signing until reconcile has booked what the chain shows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def set(self, reason: str) -> None:
        """From now on nothing is signed; a fence that is up stays as it is."""
        async with self._database.transaction() as db:
            await raise_fence(db, reason)

    async def current(self) -> FenceRecord | None:
        """The fence that is up, if one is."""
        async with self._database.transaction() as db:
            row = await db.scalar(select(FenceRow).where(FenceRow.lifted_at.is_(None)))
        if row is None:
            return None
        return FenceRecord(reason=row.reason, raised_at=row.raised_at, height=row.height)

    async def note_height(self, height: int) -> int:
        """Payments of before the fence can land up to this block height; returns the height that was first noted.

        Raises:
            IllegalTransition: no fence is up.
        """
        async with self._database.transaction() as db:
            row = await fence_row(db)
            row.height = height if row.height is None else row.height
            return row.height

    async def lift(self, why: str) -> None:
        """Payments may be signed again.

        Raises:
            IllegalTransition: no fence is up.
        """
        async with self._database.transaction() as db:
            row = await fence_row(db)
            row.lifted_why = why
            row.lifted_at = await db.scalar(select(func.clock_timestamp()))


async def raise_fence(db: AsyncSession, reason: str) -> None:
    """From now on nothing is signed; a fence that is up stays as it is."""
    await db.execute(insert(FenceRow).values(id=uuid7(), reason=reason).on_conflict_do_nothing())


async def require_no_fence(db: AsyncSession) -> None:
    """Refuse to sign behind a fence.

    Raises:
        LedgerFenced: one is up.
    """
    reason = await db.scalar(select(FenceRow.reason).where(FenceRow.lifted_at.is_(None)))
    if reason is not None:
        raise LedgerFenced(reason)


async def fence_row(db: AsyncSession) -> FenceRow:
    """The fence that is up, locked.

    Raises:
        IllegalTransition: none is.
    """
    row = await db.scalar(select(FenceRow).where(FenceRow.lifted_at.is_(None)).with_for_update())
    if row is None:
        raise IllegalTransition("no fence is up")
    return row
