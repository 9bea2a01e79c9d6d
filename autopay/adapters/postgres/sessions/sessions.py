"""Sessions: which key may pay, how much of it is taken, and when it ends."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from autopay.adapters.postgres.rows import atomic, session_key
from autopay.adapters.postgres.sessions.records import TAKEN, session_record, session_records
from autopay.adapters.postgres.sessions.scope import is_granted, scope_of, sql_is_granted, tx_limit_of
from autopay.adapters.postgres.tables.core import SessionRow, TransactionRow
from autopay.adapters.postgres.transaction import Transactional, agent_named
from autopay.domain.money import Currency, show, to_units
from autopay.domain.payment.status import SPENT, TransactionStatus
from autopay.domain.refusal import RefusalReason, Refused
from autopay.domain.session import Booked, OpenSession, OwnerTransaction, SessionRecord, SessionStatus

DESTROYED = ""
"""What is left of a sealed key once its session has ended: attempts that are under way need it no more."""


class Sessions(Transactional):
    """Keys that may pay."""

    async def create_session(
        self,
        agent: str,
        currency: Currency,
        mint: str,
        source_account: str,
        owner: str,
        authority: str,
        sealed_key: str,
        allowance_atomic: int,
        tx_limit: int,
        duration_s: int,
        session_id: UUID,
        key_version: str | None = None,
        hosts: Sequence[str] = (),
        owner_transaction: OwnerTransaction | None = None,
    ) -> None:
        """Open a session; the agent's older ones in that currency end. The same id again changes nothing.

        Attempts that older sessions signed stay as they are, and can be sent and resolved. With `owner_transaction`
        the session pays nothing, and ends no other, until `granted` says that the chain shows that transaction.
        """
        async with self._transaction() as db:
            owner_row = await agent_named(db, agent, lock=True)
            if await db.get(SessionRow, session_id) is not None:
                return
            if owner_transaction is None:
                await end_rows(db, SessionRow.agent_id == owner_row.id, SessionRow.currency == currency)
            now = await db.scalar(select(func.clock_timestamp()))
            assert now is not None
            db.add(
                SessionRow(
                    id=session_id,
                    agent_id=owner_row.id,
                    session_token=sealed_key,
                    scope=scope_of(tx_limit, duration_s, allowance_atomic, currency, hosts, owner_transaction),
                    status=SessionStatus.ACTIVE,
                    created_at=now,
                    expires_at=now + timedelta(seconds=duration_s),
                    public_key=authority,
                    currency=currency,
                    mint=mint,
                    source_account=source_account,
                    owner_wallet=owner,
                    allowance=to_units(allowance_atomic),
                    key_version=key_version,
                )
            )

    async def end_session(self, session_id: UUID) -> bool:
        """Revoke a session and destroy its sealed key; False when it had ended already or is unknown."""
        async with self._transaction() as db:
            return await end_rows(db, SessionRow.id == session_id, status=SessionStatus.REVOKED) > 0

    async def session(self, agent: str, currency: Currency) -> OpenSession | Refused:
        """The session that pays now, or why none does; see the port."""
        async with self._transaction() as db:
            owner = await agent_named(db, agent)
            newest = (
                select(SessionRow, func.clock_timestamp())
                .where(SessionRow.agent_id == owner.id, SessionRow.currency == currency)
                .order_by(
                    ((SessionRow.status == SessionStatus.ACTIVE) & sql_is_granted()).desc(),
                    (SessionRow.status == SessionStatus.ACTIVE).desc(),
                    SessionRow.created_at.desc(),
                )
                .limit(1)
            )
            found = (await db.execute(newest)).one_or_none()
            if found is None:
                message = f"agent {agent} has no session in {currency}; launch it with an allowance"
                return Refused(reason=RefusalReason.SESSION_MISSING, message=message)
            row, now = found
            if row.status is SessionStatus.ACTIVE and is_granted(row) and row.expires_at <= now:
                await end_rows(db, SessionRow.id == row.id)
            payments, spent, now = await taken(db, row.id)
            return refusal_of(row, payments, now) or OpenSession(
                key=session_key(row),
                sealed_key=row.session_token,
                spent_atomic=spent,
                payments=payments,
                tx_limit=tx_limit_of(row),
                expires_at=row.expires_at,
            )

    async def sessions(self, agent: str | None = None) -> Sequence[SessionRecord]:
        """Every session of the agent, or of all, newest first."""
        async with self._transaction() as db:
            query = session_records()
            if agent is not None:
                query = query.where(SessionRow.agent_id == (await agent_named(db, agent)).id)
            return [session_record(*row) for row in await db.execute(query)]

    async def session_record(self, session_id: UUID) -> SessionRecord | None:
        """That session, without its key."""
        async with self._transaction() as db:
            row = (await db.execute(session_records().where(SessionRow.id == session_id))).one_or_none()
            return None if row is None else session_record(*row)

    async def unsettled(self, session_id: UUID) -> int:
        """Base units that the session has reserved and no reading of the chain shows yet; see the port.

        A receipt alone (SUCCESS without a slot) is no reading: it counts as reserved still.
        """
        reserved = TransactionRow.status.in_((TransactionStatus.PENDING, TransactionStatus.RETRYING))
        claimed = (TransactionRow.status == TransactionStatus.SUCCESS) & TransactionRow.slot.is_(None)
        query = select(func.sum(TransactionRow.amount)).where(
            TransactionRow.session_id == session_id, reserved | claimed
        )
        async with self._transaction() as db:
            return atomic(await db.scalar(query))

    async def booked_on(self, session_id: UUID, slot: int, besides: UUID | None = None) -> Booked:
        """The allowance, and what settled on chain against it up to that slot, one attempt aside; see the port."""
        settled = (
            select(func.coalesce(func.sum(TransactionRow.amount), 0))
            .where(
                TransactionRow.session_id == SessionRow.id,
                TransactionRow.status.in_(SPENT),
                TransactionRow.id.is_distinct_from(besides),
                TransactionRow.slot <= slot,  # a receipt without a sighting has no slot: it is only a claim
            )
            .scalar_subquery()
        )
        query = select(SessionRow.allowance, settled).where(SessionRow.id == session_id)
        async with self._transaction() as db:
            allowance, booked = (await db.execute(query)).one()
        return Booked(allowance_atomic=atomic(allowance), settled_atomic=atomic(booked))


async def taken(db: AsyncSession, session_id: UUID) -> tuple[int, int, datetime]:
    """Payments and base units that the session has taken, and the database's clock at that reading."""
    row = (
        await db.execute(
            select(
                func.count(), func.coalesce(func.sum(TransactionRow.amount), Decimal(0)), func.clock_timestamp()
            ).where(TransactionRow.session_id == session_id, TAKEN)
        )
    ).one()
    return row[0], atomic(row[1]), row[2]


def refusal_of(row: SessionRow, payments: int, now: datetime) -> Refused | None:
    """Why the session may not make one more payment now, if so."""
    if row.status is SessionStatus.REVOKED:
        return Refused(reason=RefusalReason.SESSION_MISSING, message="the agent's session was revoked")
    if row.status is SessionStatus.ACTIVE and not is_granted(row):
        message = f"the agent's session waits for its owner's signature: starter.py session submit {row.id}"
        return Refused(reason=RefusalReason.SESSION_MISSING, message=message)
    if row.status is SessionStatus.EXPIRED and row.expires_at > now:
        return Refused(
            reason=RefusalReason.SESSION_EXPIRED, message="the agent's session ended when it was granted a newer one"
        )
    if row.status is SessionStatus.EXPIRED or row.expires_at <= now:
        return Refused(
            reason=RefusalReason.SESSION_EXPIRED, message=f"the agent's session ended at {row.expires_at:%F %T} UTC"
        )
    if payments >= tx_limit_of(row):
        message = f"the agent's session is limited to {tx_limit_of(row)} payments, all made or under way"
        return Refused(reason=RefusalReason.SESSION_TX_LIMIT, message=message)
    return None


def allowance_refusal(row: SessionRow, spent_atomic: int, amount_atomic: int) -> Refused | None:
    """Why the session's allowance does not cover that amount, if so."""
    left = atomic(row.allowance) - spent_atomic
    if amount_atomic <= left:
        return None
    assert row.currency is not None
    message = f"{show(amount_atomic, row.currency)} is asked, {show(max(left, 0), row.currency)} is left to the session"
    return Refused(reason=RefusalReason.ALLOWANCE_EXHAUSTED, message=message)


async def end_rows(db: AsyncSession, *which: object, status: SessionStatus = SessionStatus.EXPIRED) -> int:
    """End those of the sessions that are ACTIVE, and destroy their keys; returns how many."""
    ended = await db.execute(
        update(SessionRow)
        .where(SessionRow.status == SessionStatus.ACTIVE, *which)  # type: ignore[arg-type]
        .values(status=status, session_token=DESTROYED)
        .returning(SessionRow.id)
    )
    return len(ended.all())
