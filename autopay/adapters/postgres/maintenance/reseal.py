"""Puts everything that is sealed in the ledger under the newest key: small batches, each a transaction of its own.

May be interrupted at any moment and run again: a row is changed whole or not at all, and what is done is not done
again. Rows that a payment holds at the moment are left for the next round, so nothing ever waits for this.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import and_, func, select, update
from sqlalchemy.orm import InstrumentedAttribute

from autopay.adapters.postgres.database.transaction import Database
from autopay.adapters.postgres.tables.core import RequestRow, SessionRow, TransactionRow
from autopay.adapters.postgres.tables.webhooks import WebhookEndpointRow
from autopay.domain.errors import SecretUnreadable

BATCH = 200


@dataclass(frozen=True)
class SealedColumn:
    """A column that holds what the vault sealed; `row_of` gives what the seal is bound to, from `bound`'s values."""

    name: str
    purpose: str
    table: type[SessionRow] | type[TransactionRow] | type[RequestRow] | type[WebhookEndpointRow]
    sealed: InstrumentedAttribute[Any]
    bound: Sequence[InstrumentedAttribute[Any]]
    row_of: Callable[..., str]


COLUMNS = (
    SealedColumn("session keys", "session-key", SessionRow, SessionRow.session_token, (SessionRow.id,), str),
    SealedColumn(
        "payments",
        "payment",
        TransactionRow,
        TransactionRow.sealed_payment,
        (TransactionRow.x402_request_id, TransactionRow.attempt_number),
        lambda key, number: f"{key}/{number}",
    ),
    SealedColumn(
        "headers and bodies",
        "request-extras",
        RequestRow,
        RequestRow.sealed_extras,
        (RequestRow.x402_request_id,),
        str,
    ),
    *(
        SealedColumn(name, "webhook-secret", WebhookEndpointRow, sealed, (WebhookEndpointRow.id,), str)
        for name, sealed in (
            ("secrets of webhooks", WebhookEndpointRow.sealed_secret),
            ("old secrets of webhooks", WebhookEndpointRow.sealed_old_secret),
        )
    ),
)


@dataclass(frozen=True)
class Batch:
    """What one transaction did: rows resealed, the ids of rows that no key opens, and where the next begins."""

    resealed: int
    unreadable: tuple[UUID, ...]
    last: UUID


class Resealer(Protocol):
    """A vault with several keys; what the newest one seals begins with `newest_mark`. Raises SecretUnreadable."""

    @property
    def newest_mark(self) -> str: ...
    def reseal(self, sealed: str, *, purpose: str, row: str) -> str: ...


class SealedColumns:
    """Which keys have sealed what, and how it moves under the newest one."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def key_versions(self, column: SealedColumn) -> dict[str, int]:
        """How many rows each key version has sealed, `v1` and so on; destroyed secrets do not count."""
        mark = func.split_part(column.sealed, ".", 1)
        async with self._database.transaction() as db:
            rows = await db.execute(select(mark, func.count()).where(column.sealed != "").group_by(mark).order_by(mark))
            return dict(rows.all())

    async def reseal(self, column: SealedColumn, vault: Resealer, batch: int = BATCH) -> AsyncIterator[Batch]:
        """One walk over the rows that older keys sealed; a row that somebody else has locked is passed by."""
        last: UUID | None = None
        while (done := await self._batch(column, vault, last, batch)) is not None:
            yield done
            last = done.last

    async def _batch(self, column: SealedColumn, vault: Resealer, after: UUID | None, limit: int) -> Batch | None:
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
