"""Throwing away what was bought, when it is old: response bodies of closed requests, and nothing else.

The request, its payments, and the hash of the content stay for ever. A request whose content is gone stays paid.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Select, func, or_, select

from autopay.adapters.postgres.tables.core import RequestRow
from autopay.domain.values import Value

BATCH = 200
"""Requests in a transaction: locks are short, and the log of changes grows in small steps."""


class Prunable(Value):
    """What could be thrown away, or was: requests, and bytes of their bodies."""

    requests: int
    body_bytes: int


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
