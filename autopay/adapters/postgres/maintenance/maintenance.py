"""What operators do to the ledger: check its schema, bring demo data, and throw away old content.

Pruning throws away response bodies of closed requests, and nothing else. The request, its payments, and the hash of
the content stay for ever. A request whose content is gone stays paid.
"""

from collections.abc import AsyncIterator
from datetime import datetime
from uuid import UUID

from sqlalchemy import Select, func, null, or_, select, text, update

from autopay.adapters.postgres.database.transaction import Database
from autopay.adapters.postgres.maintenance.migrations import head
from autopay.adapters.postgres.maintenance.seed import seed
from autopay.adapters.postgres.reports.reports import LONG_REPORT
from autopay.adapters.postgres.tables.core import RequestRow
from autopay.domain.errors import NotMigrated
from autopay.domain.values import Value

PRUNE_BATCH = 200
"""Requests in a transaction: locks are short, and the log of changes grows in small steps."""


class Prunable(Value):
    """What could be thrown away, or was: requests, and bytes of their bodies."""

    requests: int
    body_bytes: int


class Maintenance:
    """The schema, demo data, and old content."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def check_schema(self) -> None:
        """See that the database is at this version's schema.

        Raises:
            NotMigrated: it is not, or never was migrated.
        """
        now, newest = await self.schema_revision(), head()
        if now != newest:
            raise NotMigrated(f"it is at {now or 'no revision'}, this version needs {newest}")

    async def schema_revision(self) -> str | None:
        """The revision that the database is at; None when it was never migrated."""
        async with self._database.transaction() as db:
            if await db.scalar(text("SELECT to_regclass('alembic_version')")) is None:
                return None
            revision: str | None = await db.scalar(text("SELECT version_num FROM alembic_version"))
            return revision

    async def seed(self) -> None:
        """Bring the demo data; a second time changes nothing, and an agent of that name keeps what it is."""
        async with self._database.transaction() as db:
            await seed(db)

    async def prunable(self, before: datetime) -> Prunable:
        """What `prune` would throw away."""
        every = prunable_query(before, None).subquery()
        async with self._database.transaction() as db:
            await db.execute(text(LONG_REPORT))
            found = await db.execute(select(func.count(), func.coalesce(func.sum(every.c.size), 0)).select_from(every))
            requests, size = found.one()
        return Prunable(requests=requests, body_bytes=int(size))

    async def prune(self, before: datetime, batch: int = PRUNE_BATCH) -> AsyncIterator[Prunable]:
        """Throw away the bodies of requests that ended, and were answered, before that moment; what each batch was.

        Each batch is a transaction of its own: it can be ended at any time, and goes on when it is called again.
        A request that somebody holds locked is left for the next time.
        """
        while True:
            async with self._database.transaction() as db:
                rows = (await db.execute(prunable_query(before, batch).with_for_update(skip_locked=True))).all()
                gone = update(RequestRow).where(RequestRow.id.in_([row.id for row in rows]))
                # `body_sha256` stays: whoever kept a copy can still prove that it is what was bought.
                await db.execute(gone.values(body=null(), success_payload=null(), body_pruned_at=func.now()))
            if not rows:
                return
            yield Prunable(requests=len(rows), body_bytes=sum(row.size for row in rows))


def prunable_query(before: datetime, limit: int | None) -> Select[UUID, int]:
    """Ids of requests whose content may go, the oldest first, with the size of their bodies in bytes."""
    return (
        select(RequestRow.id, func.coalesce(func.octet_length(RequestRow.body), 0).label("size"))
        .where(
            RequestRow.closed_at < before,
            or_(RequestRow.answered_at.is_(None), RequestRow.answered_at < before),  # delivered late, kept longer
            RequestRow.body_sha256.is_not(None),
            RequestRow.body_pruned_at.is_(None),
        )
        .order_by(RequestRow.closed_at)
        .limit(limit)
    )
