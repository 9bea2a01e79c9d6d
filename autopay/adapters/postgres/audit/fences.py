"""The fence of a ledger that may not know all that was paid: raised by a restore, or by the chain knowing more.

| crash at | leaves |
|---|---|
| a restore, before the fence is in the restored database | that database is not yet the ledger: workers do not see it |
| between booking and lifting | what is booked; booking again changes nothing, the fence is up still |
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ScalarSelect, func, select, union
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from autopay.adapters.postgres.rows import atomic
from autopay.adapters.postgres.sessions.scope import scope_of
from autopay.adapters.postgres.sessions.sessions import DESTROYED
from autopay.adapters.postgres.tables.core import AgentRow, RequestRow, SessionRow, TransactionRow
from autopay.adapters.postgres.tables.fence import FenceRow
from autopay.adapters.postgres.transaction import Transactional
from autopay.adapters.postgres.uuid7 import uuid7
from autopay.domain.errors import IllegalTransition, LedgerFenced
from autopay.domain.money import to_units
from autopay.domain.payment.offer import Offer
from autopay.domain.payment.status import TransactionStatus
from autopay.domain.payment.steps import PaidBefore
from autopay.domain.payment.verification import verification_hash
from autopay.domain.reconcile.fence import FenceRecord
from autopay.domain.reconcile.forgotten import ForgottenPayment, ForgottenSession
from autopay.domain.reconcile.rebook import Owner
from autopay.domain.session import SessionStatus

BOOKED_LATER = "booked_after_restore"
FORGOTTEN_KEY = "forgotten/"


class Fences(Transactional):
    """No signing until reconcile has booked what the chain shows."""

    async def raise_fence(self, reason: str) -> None:
        """From now on nothing is signed; a fence that is up stays as it is."""
        async with self._transaction() as db:
            await db.execute(insert(FenceRow).values(id=uuid7(), reason=reason).on_conflict_do_nothing())

    async def fence(self) -> FenceRecord | None:
        """The fence that is up, if one is."""
        async with self._transaction() as db:
            row = await db.scalar(select(FenceRow).where(FenceRow.lifted_at.is_(None)))
        if row is None:
            return None
        return FenceRecord(reason=row.reason, raised_at=row.raised_at, height=row.height)

    async def note_height(self, height: int) -> int:
        """Payments of before the fence can land up to this block height; returns the height that was first noted.

        Raises:
            IllegalTransition: no fence is up.
        """
        async with self._transaction() as db:
            row = await _up(db)
            row.height = height if row.height is None else row.height
            return row.height

    async def lift_fence(self, why: str) -> None:
        """Payments may be signed again.

        Raises:
            IllegalTransition: no fence is up.
        """
        async with self._transaction() as db:
            row = await _up(db)
            row.lifted_why = why
            row.lifted_at = await db.scalar(select(func.clock_timestamp()))

    async def newest_known_slot(self) -> int | None:
        """Of the payments that the ledger knew before the fence."""
        query = select(func.max(TransactionRow.slot)).where(
            TransactionRow.error_code.is_distinct_from(BOOKED_LATER), TransactionRow.created_at < _raised_at()
        )
        async with self._transaction() as db:
            return await db.scalar(query)

    async def owners(self) -> Sequence[Owner]:
        """Every wallet that a session or an agent pays from, with its oldest agent."""
        sessions = select(SessionRow.owner_wallet, SessionRow.agent_id).where(SessionRow.owner_wallet.is_not(None))
        wallets = union(sessions, select(AgentRow.wallet_address, AgentRow.id)).subquery()
        query = (
            select(wallets.c[0], AgentRow.id, AgentRow.name)
            .join(AgentRow, AgentRow.id == wallets.c[1])
            .order_by(wallets.c[0], AgentRow.created_at)
            .distinct(wallets.c[0])
        )
        async with self._transaction() as db:
            rows = (await db.execute(query)).all()
        return [Owner(wallet=wallet, agent_id=agent_id, agent=name) for wallet, agent_id, name in rows]

    async def book_session(self, found: ForgottenSession) -> bool:
        """Record a session that was granted after the backup, as ended: its key is lost, its account is not.

        Raises:
            IllegalTransition: no fence is up.
        """
        async with self._transaction() as db:
            await _up(db)
            known = await db.scalar(
                select(SessionRow.id).where(
                    SessionRow.source_account == found.source_account, SessionRow.public_key == found.authority
                )
            )
            if known is not None:
                return False
            now = await db.scalar(select(func.clock_timestamp()))
            assert now is not None
            db.add(
                SessionRow(
                    id=uuid7(),
                    agent_id=found.agent_id,
                    session_token=DESTROYED,
                    scope=scope_of(0, 0, found.allowance_atomic, found.currency),
                    status=SessionStatus.REVOKED,
                    created_at=now,
                    expires_at=now,
                    public_key=found.authority,
                    currency=found.currency,
                    mint=found.mint,
                    source_account=found.source_account,
                    owner_wallet=found.owner,
                    allowance=to_units(found.allowance_atomic),
                )
            )
            return True

    async def book_forgotten(self, payment: ForgottenPayment) -> bool:
        """Book a payment that the chain shows and the ledger forgot; False when it was booked before.

        Raises:
            IllegalTransition: no fence is up, or the session is not known.
        """
        settlement = payment.settlement
        async with self._transaction() as db:
            await _up(db)
            session = await db.get(SessionRow, payment.session_id)
            if session is None:
                raise IllegalTransition(f"there is no session {payment.session_id}")
            row = {
                "id": uuid7(),
                "agent_id": session.agent_id,
                "session_id": session.id,
                "x402_request_id": FORGOTTEN_KEY + settlement.signature,
                "status": TransactionStatus.VERIFIED,
                "network": payment.network,
                "currency": payment.currency,
                "amount": to_units(settlement.amount_atomic),
                "mint": settlement.mint,
                "hash": settlement.signature,
                "slot": settlement.slot,
                "memo": payment.memo,
                "message_hash": payment.message_hash,
                "source_account": payment.source_account,
                "destination_account": settlement.destination,
                "authority": settlement.payer,
                "error_code": BOOKED_LATER,
                "verification_hash": verification_hash(payment.network, settlement),
            }
            added = await db.execute(
                insert(TransactionRow).values(row).on_conflict_do_nothing().returning(TransactionRow.id)
            )
            return len(added.all()) > 0


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


async def require_no_fence(db: AsyncSession) -> None:
    """Refuse to sign behind a fence.

    Raises:
        LedgerFenced: one is up.
    """
    reason = await db.scalar(select(FenceRow.reason).where(FenceRow.lifted_at.is_(None)))
    if reason is not None:
        raise LedgerFenced(reason)


async def require_not_forgotten(
    db: AsyncSession, request: RequestRow, memo: str, offer: Offer, destination: str
) -> None:
    """Refuse to record an attempt whose payment has been booked as forgotten meanwhile; asking again finds it.

    Raises:
        LedgerFenced: there is one.
    """
    if await _forgotten(db, request, [memo], offer, destination) is not None:
        raise LedgerFenced("this payment was booked after a restore")


def _raised_at() -> ScalarSelect[datetime]:
    return select(FenceRow.raised_at).where(FenceRow.lifted_at.is_(None)).scalar_subquery()


async def _up(db: AsyncSession) -> FenceRow:
    row = await db.scalar(select(FenceRow).where(FenceRow.lifted_at.is_(None)).with_for_update())
    if row is None:
        raise IllegalTransition("no fence is up")
    return row


async def _forgotten(
    db: AsyncSession, request: RequestRow, memos: Sequence[str], offer: Offer, destination: str
) -> TransactionRow | None:
    """By memo, whoever it was booked for: a forgotten session's agent is a guess. A memo that the seller fixes is
    anybody's: then payee and amount must fit, and nobody else have it. Ours, among `memos` as well, is the request's
    own: it was paid, whatever memo the seller wants by now."""
    mine = TransactionRow.id == request.transaction_id
    taken = select(RequestRow.transaction_id).where(RequestRow.transaction_id.is_not(None))
    free = TransactionRow.id.not_in(taken)
    query = select(TransactionRow).where(
        TransactionRow.error_code == BOOKED_LATER,
        TransactionRow.memo.in_(memos),
        mine | free,
    )
    if offer.memo is not None:
        fits = (TransactionRow.destination_account == destination) & (
            TransactionRow.amount == to_units(offer.amount_atomic)
        )
        query = query.where((TransactionRow.memo != offer.memo) | fits)
    return await db.scalar(query.order_by(TransactionRow.slot).limit(1))
