"""The audit trail, and the state of the ledger's proof."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autopay.api.models.base import Page, money, money_or_none
from autopay.api.models.ledger import Anchor, Fence, LedgerEvent, LedgerState, TrailItem
from autopay.api.readings.places import explorer_url
from autopay.client.requests.event_text import describe_event
from autopay.domain.errors import LedgerFenced
from autopay.domain.money import to_atomic
from autopay.domain.text.command_line import command_line

if TYPE_CHECKING:
    from autopay.adapters.postgres.reports.events import LedgerEvent as Change
    from autopay.api.readings.sources import Sources
    from autopay.domain.report.filter import Filter
    from autopay.domain.report.rows import TrailRow


async def read_trail(sources: Sources, wanted: Filter, after: str | None, limit: int) -> Page[TrailItem]:
    """Transactions, requests and balances as one timeline (`audit_trail_view`), newest first."""
    found = await sources.ledger.reports.trail(wanted, after=after, limit=limit)
    return Page(items=tuple(map(_trail_item, found.rows)), next=found.next)


def _trail_item(row: TrailRow) -> TrailItem:
    has_amount = row.amount is not None and row.currency is not None
    return TrailItem(
        at=row.created_at,
        agent=row.agent,
        kind=row.kind,
        id=row.id,
        request_id=row.request_id,
        status=row.status,
        amount=money(to_atomic(row.amount), row.currency) if has_amount else None,  # type: ignore[arg-type]
        endpoint=row.endpoint,
        attempt_number=row.attempt_number,
        delivery=row.delivery,
        error=row.error,
        transaction=row.hash,
        verification_hash=row.verification_hash,
        request_key=row.x402_request_id,
    )


async def read_ledger(sources: Sources) -> LedgerState:
    """Fence, audit chains and the newest anchor."""
    ledger, settings = sources.ledger, sources.settings
    fence = await ledger.fence.current()
    heads = await ledger.audit.heads()
    anchor = await ledger.audit.last_anchor(settings.network)
    return LedgerState(
        fence=None
        if fence is None
        else Fence(reason=fence.reason, raised_at=fence.raised_at, advice=command_line(*LedgerFenced.remedy)),
        chains=len(heads),
        events=sum(head.seq for head in heads),
        anchor=None
        if anchor is None
        else Anchor(
            at=anchor.created_at,
            transaction=anchor.signature,
            explorer=explorer_url(settings, anchor.signature, anchor.network),
            slot=anchor.slot,
            root=anchor.root,
        ),
        newest=await ledger.events.newest_cursor(),
    )


def event_told(event: Change) -> LedgerEvent:
    """A change of the ledger as the API tells it."""
    return LedgerEvent(
        cursor=event.cursor,
        at=event.at,
        agent=event.agent,
        kind=event.kind,
        text=describe_event(event),
        request_id=event.request_id,
        amount=money_or_none(event.amount_atomic, event.currency),
        values=event.values,
    )
