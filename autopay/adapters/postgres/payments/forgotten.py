"""Payments that a restored ledger forgot and reconcile has booked: found by memo before anything is paid twice."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from autopay.adapters.postgres.database.rows import atomic
from autopay.adapters.postgres.tables.core import RequestRow, TransactionRow
from autopay.domain.money import to_units
from autopay.domain.payment.offer import Offer
from autopay.domain.payment.steps import PaidBefore

BOOKED_LATER = "booked_after_restore"


async def paid_before(
    db: AsyncSession, request: RequestRow, memos: Sequence[str], offer: Offer, destination: str
) -> PaidBefore | None:
    """The forgotten payment that was this request's, if there is one: from now on it is."""
    row = await _forgotten(db, request, memos, offer, destination)
    if row is None:
        return None
    assert row.hash is not None
    if request.closed_at is None:
        request.transaction_id, request.price = row.id, row.amount
    return PaidBefore(currency=row.currency, amount_atomic=atomic(row.amount), transaction=row.hash)


async def _forgotten(
    db: AsyncSession, request: RequestRow, memos: Sequence[str], offer: Offer, destination: str
) -> TransactionRow | None:
    """By memo, whoever it was booked for: a forgotten session's agent is a guess. A memo that the seller fixes is
    anybody's: then payee and amount must fit, and nobody else have it. Ours, among `memos` as well, is the request's
    own: it was paid, whatever memo the seller wants by now."""
    query = select(TransactionRow).where(TransactionRow.error_code == BOOKED_LATER, TransactionRow.memo.in_(memos))
    if offer.memo is not None:
        fits = (TransactionRow.destination_account == destination) & (
            TransactionRow.amount == to_units(offer.amount_atomic)
        )
        query = query.where((TransactionRow.memo != offer.memo) | fits)
    candidates = (await db.scalars(query.order_by(TransactionRow.slot))).all()
    if not candidates:
        return None
    # Apart, as no index leads from a payment to its request: every reservation asks the first, hardly any the second.
    of_requests = RequestRow.transaction_id.in_([row.id for row in candidates])
    taken = frozenset(await db.scalars(select(RequestRow.transaction_id).where(of_requests)))
    return next((row for row in candidates if row.id == request.transaction_id or row.id not in taken), None)
