"""What operators do to the ledger: check its schema, bring demo data, throw away old content, reseal secrets."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import and_, func, null, select, text, update

from autopay.adapters.postgres.maintenance.migrations import head
from autopay.adapters.postgres.maintenance.prune import BATCH as PRUNE_BATCH
from autopay.adapters.postgres.maintenance.prune import Prunable, prunable_query
from autopay.adapters.postgres.maintenance.reseal import BATCH as RESEAL_BATCH
from autopay.adapters.postgres.maintenance.reseal import Batch, SealedColumn
from autopay.adapters.postgres.maintenance.seed import seed
from autopay.adapters.postgres.reports.reports import LONG_REPORT
from autopay.adapters.postgres.tables.core import RequestRow, TransactionRow
from autopay.adapters.postgres.transaction import Database
from autopay.adapters.vault import Vault
from autopay.domain.errors import NotMigrated, SecretUnreadable


class Maintenance:
    """The schema, demo data, old content, and sealed columns."""

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

    async def key_versions(self, column: SealedColumn) -> dict[str, int]:
        """How many rows each key version has sealed, `v1` and so on; destroyed secrets do not count."""
        mark = func.split_part(column.sealed, ".", 1)
        async with self._database.transaction() as db:
            rows = await db.execute(select(mark, func.count()).where(column.sealed != "").group_by(mark).order_by(mark))
            return dict(rows.all())

    async def reseal(self, column: SealedColumn, vault: Vault, batch: int = RESEAL_BATCH) -> AsyncIterator[Batch]:
        """One walk over the rows that older keys sealed; a row that somebody else has locked is passed by."""
        last: UUID | None = None
        while (done := await self._reseal_batch(column, vault, last, batch)) is not None:
            yield done
            last = done.last

    async def _reseal_batch(self, column: SealedColumn, vault: Vault, after: UUID | None, limit: int) -> Batch | None:
        table = column.table
        old = and_(column.sealed != "", column.sealed.not_like(f"{vault.newest_mark}%"))
        query = select(table.id, column.sealed, *column.bound).where(old)
        query = query.where(table.id > after) if after is not None else query
        query = query.order_by(table.id).limit(limit).with_for_update(skip_locked=True, key_share=True)
        unreadable: list[UUID] = []
        async with self._database.transaction() as db:
            rows = (await db.execute(query)).all()
            for number, sealed, *bound in rows:
                try:
                    fresh = vault.reseal(sealed, purpose=column.purpose, row=column.row_of(*bound))
                except SecretUnreadable:
                    unreadable.append(number)
                    continue
                values: dict[str, Any] = {column.sealed.key: fresh}
                if table is TransactionRow:
                    values["updated_at"] = TransactionRow.updated_at  # nothing happened to the payment
                await db.execute(update(table).where(table.id == number).values(**values))
        return Batch(len(rows) - len(unreadable), tuple(unreadable), rows[-1][0]) if rows else None
