"""Throwing away what was bought, when it is old: response bodies of closed requests, and nothing else.

The request, its payments, and the hash of the content stay for ever. A request whose content is gone stays paid.
"""

from collections.abc import AsyncIterator
from datetime import datetime
from uuid import UUID

from sqlalchemy import Select, func, null, or_, select, text, update

from autopay.adapters.postgres.reports.readers import LONG_REPORT
from autopay.adapters.postgres.tables.core import RequestRow
from autopay.adapters.postgres.transaction import Transactional
from autopay.domain.values import Value

BATCH = 200
"""Requests in a transaction: locks are short, and the log of changes grows in small steps."""


class Prunable(Value):
    """What could be thrown away, or was: requests, and bytes of their bodies."""

    requests: int
    body_bytes: int


class Retention(Transactional):
    """How long content is kept."""

    async def prunable(self, before: datetime) -> Prunable:
        """What `prune` would throw away."""
        every = prunable_query(before, None).subquery()
        async with self._transaction() as db:
            await db.execute(text(LONG_REPORT))
            found = await db.execute(select(func.count(), func.coalesce(func.sum(every.c.size), 0)).select_from(every))
            requests, size = found.one()
        return Prunable(requests=requests, body_bytes=int(size))

    async def prune(self, before: datetime) -> AsyncIterator[Prunable]:
        """Throw away the bodies of requests that ended, and were answered, before that moment; what each batch was.

        Each batch is a transaction of its own: it can be ended at any time, and goes on when it is called again.
        A request that somebody holds locked is left for the next time.
        """
        while True:
            async with self._transaction() as db:
                batch = (await db.execute(prunable_query(before, BATCH).with_for_update(skip_locked=True))).all()
                gone = update(RequestRow).where(RequestRow.id.in_([row.id for row in batch]))
                # `body_sha256` stays: whoever kept a copy can still prove that it is what was bought.
                await db.execute(gone.values(body=null(), success_payload=null(), body_pruned_at=func.now()))
            if not batch:
                return
            yield Prunable(requests=len(batch), body_bytes=sum(row.size for row in batch))


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
