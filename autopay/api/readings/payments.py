"""Payments in a list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autopay.api.models.base import Page, money
from autopay.api.models.payments import Payment
from autopay.api.readings.places import explorer_url, seller_of

if TYPE_CHECKING:
    from autopay.api.readings.sources import Sources
    from autopay.domain.report.filter import Filter
    from autopay.domain.report.rows import PaymentRow
    from autopay.settings import Settings


async def read_payments(sources: Sources, wanted: Filter, after: str | None, limit: int) -> Page[Payment]:
    """Payments with their requests, newest first."""
    found = await sources.ledger.reports.payments(wanted, after=after, limit=limit)
    return Page(items=tuple(_payment(row, sources.settings) for row in found.rows), next=found.next)


def _payment(row: PaymentRow, settings: Settings) -> Payment:
    return Payment(
        id=row.attempt_id,
        at=row.created_at,
        agent=row.agent,
        request_id=row.request_id,
        request_key=row.request_key,
        url=row.url,
        endpoint=row.endpoint,
        seller=seller_of(row.url),
        number=row.number,
        sends=row.sends,
        status=row.status,
        delivery=row.delivery,
        price=money(row.amount_atomic, row.currency),
        network=row.network,
        pay_to=row.pay_to,
        transaction=row.hash,
        explorer=explorer_url(settings, row.hash, row.network),
        error_type=row.error_type,
        error_code=row.error_code,
        verification_hash=row.verification_hash,
    )
