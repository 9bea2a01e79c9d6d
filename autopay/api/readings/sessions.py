"""Sessions in a list."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from autopay.api.models.base import Page, money
from autopay.api.models.money_reports import Session

if TYPE_CHECKING:
    from autopay.api.readings.sources import Sources
    from autopay.domain.session import SessionRecord


async def read_sessions(
    sources: Sources, agent: str | None, after: str | None, limit: int, *, active: bool
) -> Page[Session]:
    """Sessions, newest first; with `active` those alone that may pay, or wait for their owner."""
    found = await sources.ledger.lists.sessions(agent, active=active, after=after, limit=limit)
    now = datetime.now(UTC)
    return Page(items=tuple(session_told(row, now) for row in found.rows), next=found.next)


def session_told(record: SessionRecord, now: datetime) -> Session:
    """The session as the API tells it."""
    currency = record.currency
    return Session(
        id=record.session_id,
        agent=record.agent,
        state=record.state(now),
        allowance=money(record.allowance_atomic, currency),
        spent=money(record.spent_atomic, currency),
        left=money(max(0, record.allowance_atomic - record.reserved_atomic), currency),
        payments=record.payments,
        payment_limit=record.tx_limit,
        open_payments=record.open_payments,
        hosts=record.hosts,
        granted_at=record.created_at,
        ends_at=record.expires_at,
        owner=record.owner,
        account=record.source_account,
        delegate=record.authority,
        mint=record.mint,
    )
