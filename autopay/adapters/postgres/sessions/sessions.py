"""Sessions: which key may pay, how much of it is spent, when it ends, and what its owner still has to sign."""

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ARRAY, Text, any_, bindparam, func, select, text, union, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from autopay.adapters.postgres.database.connection import fault_of
from autopay.adapters.postgres.database.rows import atomic, session_key
from autopay.adapters.postgres.database.transaction import Database, agent_named
from autopay.adapters.postgres.sessions.records import session_record, session_records
from autopay.adapters.postgres.sessions.scope import (
    OWNER_TRANSACTION,
    duration_of,
    is_granted,
    scope_of,
    sql_is_granted,
    tx_limit_of,
    with_owner_transaction,
)
from autopay.adapters.postgres.tables.core import OPEN_PAYMENTS, AgentRow, SessionRow, TransactionRow
from autopay.adapters.postgres.tables.usage import SessionUsageRow
from autopay.domain.errors import LedgerUnavailable
from autopay.domain.money import Currency, show, to_units
from autopay.domain.payment.status import SPENT, TransactionStatus
from autopay.domain.refusal import RefusalReason, Refused
from autopay.domain.session import (
    Booked,
    ClaimedPayment,
    InFlight,
    NewSession,
    OpenSession,
    OwnerTransaction,
    SessionRecord,
    SessionStatus,
)
from autopay.domain.text.command_line import command_line

DESTROYED = ""
"""What is left of a sealed key once its session has ended: attempts that are under way need it no more."""


_AMONG = any_(bindparam("addresses", type_=ARRAY(Text)))
OWN_ADDRESSES = union(
    *(
        select(address).where(SessionRow.agent_id == bindparam("agent_id"), address == _AMONG)
        for address in (SessionRow.owner_wallet, SessionRow.public_key, SessionRow.source_account)
    )
)
"""Those of the `addresses` that are an owner, a key or an account of any session that the agent ever had."""


TURN_POLL_S = 0.1


TURN_PATIENCE_S = 90


class Sessions:
    """Keys that may pay; implements the port `SessionStore`, and `GrantedSessions` of a grant."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, new: NewSession) -> None:
        """Open a session; the agent's older ones in that currency end. The same id again changes nothing.

        Attempts that older sessions signed stay as they are, and can be sent and resolved. With `owner_transaction`
        the session pays nothing, and ends no other, until `mark_granted` says that the chain shows that transaction.
        """
        async with self._database.transaction() as db:
            owner_row = await agent_named(db, new.agent, lock=True)
            if await db.get(SessionRow, new.session_id) is not None:
                return
            if new.owner_transaction is None:
                await end_sessions(db, SessionRow.agent_id == owner_row.id, SessionRow.currency == new.currency)
            now = await db.scalar(select(func.clock_timestamp()))
            assert now is not None
            db.add(
                SessionRow(
                    id=new.session_id,
                    agent_id=owner_row.id,
                    session_token=new.sealed_key,
                    scope=scope_of(
                        new.tx_limit,
                        new.duration_s,
                        new.allowance_atomic,
                        new.currency,
                        new.hosts,
                        new.owner_transaction,
                    ),
                    status=SessionStatus.ACTIVE,
                    created_at=now,
                    expires_at=now + timedelta(seconds=new.duration_s),
                    public_key=new.authority,
                    currency=new.currency,
                    mint=new.mint,
                    source_account=new.source_account,
                    owner_wallet=new.owner,
                    allowance=to_units(new.allowance_atomic),
                )
            )

    async def end(self, session_id: UUID) -> bool:
        """Revoke a session and destroy its sealed key; False when it had ended already or is unknown."""
        async with self._database.transaction() as db:
            return await end_sessions(db, SessionRow.id == session_id, status=SessionStatus.REVOKED) > 0

    async def current(self, agent: str, currency: Currency) -> OpenSession | Refused:
        """The session that pays now, or why none does; see the port."""
        async with self._database.transaction() as db:
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
                await end_sessions(db, SessionRow.id == row.id)
            payments, spent, now = await usage_of(db, row.id)
            return refusal_of(row, payments, now) or OpenSession(
                key=session_key(row),
                sealed_key=row.session_token,
                spent_atomic=spent,
                payments=payments,
                tx_limit=tx_limit_of(row),
                expires_at=row.expires_at,
            )

    async def own_among(self, agent: str, addresses: Collection[str]) -> frozenset[str]:
        """Those of the addresses that are an owner, a key or an account of any session that the agent ever had."""
        async with self._database.transaction() as db:
            owner = await agent_named(db, agent)
            found = await db.scalars(OWN_ADDRESSES, {"agent_id": owner.id, "addresses": list(addresses)})
            return frozenset(each for each in found if each is not None)

    async def may_make(self) -> bool:
        """Whether this connection's role may make sessions, which the owner of the tables may and workers may not."""
        async with self._database.transaction() as db:
            return bool(await db.scalar(select(func.has_any_column_privilege("sessions", "INSERT"))))

    async def list(self, agent: str | None = None) -> Sequence[SessionRecord]:
        """Every session of the agent, or of all, newest first."""
        async with self._database.transaction() as db:
            query = session_records()
            if agent is not None:
                query = query.where(SessionRow.agent_id == (await agent_named(db, agent)).id)
            return [session_record(*row) for row in await db.execute(query)]

    async def get(self, session_id: UUID) -> SessionRecord | None:
        """That session, without its key."""
        async with self._database.transaction() as db:
            row = (await db.execute(session_records().where(SessionRow.id == session_id))).one_or_none()
            return None if row is None else session_record(*row)

    async def in_flight(self, session_id: UUID) -> InFlight:
        """What the session has reserved and the ledger has not seen on chain; see the port.

        A receipt alone (SUCCESS without a slot) is no sighting: it counts as reserved still.
        """
        seen = (TransactionRow.status == TransactionStatus.SUCCESS) & TransactionRow.slot.is_not(None)
        query = (
            select(
                TransactionRow.amount,
                TransactionRow.status,
                TransactionRow.claims,
                TransactionRow.blockhash_slot,
                TransactionRow.newest_prior_signature,
            )
            .where(TransactionRow.session_id == session_id, OPEN_PAYMENTS, ~seen)
            .order_by(TransactionRow.created_at)
        )
        async with self._database.transaction() as db:
            rows = (await db.execute(query)).all()
        claimed = [
            ClaimedPayment(
                signature=claims[-1], amount_atomic=atomic(amount), blockhash_slot=slot, newest_prior_signature=prior
            )
            for amount, status, claims, slot, prior in rows
            if status is TransactionStatus.SUCCESS and claims and slot is not None
        ]
        return InFlight(amount_atomic=sum(atomic(row.amount) for row in rows), claimed=tuple(claimed))

    async def booked_up_to(self, session_id: UUID, slot: int, besides: UUID | None = None) -> Booked:
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
        async with self._database.transaction() as db:
            allowance, booked = (await db.execute(query)).one()
        return Booked(allowance_atomic=atomic(allowance), settled_atomic=atomic(booked))

    async def await_owner(self, session_id: UUID, transaction: OwnerTransaction) -> bool:
        """Record what the owner is asked to sign now, in place of what it was asked before.

        False when there is nothing to sign: a grant of a session that is granted, or has ended.
        """
        async with self._database.transaction() as db:
            row = await db.get_one(SessionRow, session_id, with_for_update={"key_share": True})
            if transaction.does == "grant" and (row.status is not SessionStatus.ACTIVE or is_granted(row)):
                return False
            row.scope = with_owner_transaction(row.scope, transaction)
            return True

    async def mark_granted(self, session_id: UUID) -> bool:
        """The chain shows the delegation: the session pays from now on, for its whole duration.

        The agent's older sessions in that currency end. False when this one has ended meanwhile; called again it
        changes nothing.
        """
        async with self._database.transaction() as db:
            agent_id = await db.scalar(select(SessionRow.agent_id).where(SessionRow.id == session_id))
            await db.get_one(AgentRow, agent_id, with_for_update={"key_share": True})
            row = await db.get_one(SessionRow, session_id, with_for_update={"key_share": True})
            if is_granted(row) or row.status is not SessionStatus.ACTIVE:
                return row.status is SessionStatus.ACTIVE
            await end_sessions(
                db,
                SessionRow.agent_id == row.agent_id,
                SessionRow.currency == row.currency,
                SessionRow.id != row.id,
                sql_is_granted(),
            )
            now = await db.scalar(select(func.clock_timestamp()))
            assert now is not None
            row.expires_at = now + timedelta(seconds=duration_of(row))
            row.scope = with_owner_transaction(row.scope, None)
            return True

    async def clear_owner_transaction(self, session_id: UUID) -> None:
        """The chain shows that the owner revoked: there is nothing left to sign."""
        async with self._database.transaction() as db:
            row = await db.get_one(SessionRow, session_id, with_for_update={"key_share": True})
            row.scope = with_owner_transaction(row.scope, None)

    async def awaiting(self, message: str) -> SessionRecord | None:
        """The session whose owner was asked to sign that message (base64), if it was the last one asked for."""
        query = session_records().where(SessionRow.scope[OWNER_TRANSACTION]["message"].astext == message)
        async with self._database.transaction() as db:
            row = (await db.execute(query)).first()
            return None if row is None else session_record(*row)

    async def awaiting_wallet(self, owner: str) -> Sequence[SessionRecord]:
        """The sessions that wait for that owner to sign something, the newest first."""
        query = session_records().where(SessionRow.owner_wallet == owner, SessionRow.scope.has_key(OWNER_TRANSACTION))
        async with self._database.transaction() as db:
            return [session_record(*row) for row in await db.execute(query)]

    @asynccontextmanager
    async def lock_agent(self, agent: str) -> AsyncIterator[None]:
        """One at a time grants sessions to an agent and starts it; who comes second waits.

        An advisory lock of a transaction of its own, which does nothing else: it goes with the process, however that
        ends, and with the connection, so it saves from granting twice and nothing else may depend on it.

        Raises:
            LedgerUnavailable: the database does not answer, or whose turn it is does not end.
        """
        key = {"name": f"autopay/turn/{agent}"}
        async with self._locking() as lock:
            deadline = time.monotonic() + TURN_PATIENCE_S
            while not await lock.scalar(text("SELECT pg_try_advisory_xact_lock(hashtextextended(:name, 0))"), key):
                if time.monotonic() > deadline:
                    raise LedgerUnavailable(f"another command has been granting sessions to {agent} for too long")
                await asyncio.sleep(TURN_POLL_S)
            try:
                yield
            finally:
                with suppress(SQLAlchemyError):  # the connection is lost, and the lock with it
                    await lock.rollback()

    @asynccontextmanager
    async def _locking(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with self._database.engine.connect() as connection:
                await connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))  # it waits inside
                yield connection
        except (SQLAlchemyError, OSError) as error:
            fault = fault_of(error)
            if fault is None:
                raise
            raise fault from error


async def usage_of(db: AsyncSession, session_id: UUID) -> tuple[int, int, datetime]:
    """Payments and base units that count as spent by the session, and the database's clock at that reading."""
    # A sum over one row or none: a session without a payment has no counter.
    query = select(
        func.coalesce(func.sum(SessionUsageRow.payments), 0),
        func.coalesce(func.sum(SessionUsageRow.spent), 0),
        func.clock_timestamp(),
    ).where(SessionUsageRow.session_id == session_id)
    payments, spent, now = (await db.execute(query)).one()
    return int(payments), atomic(spent), now


def missing_on_chain(row: SessionRow, spent_atomic: int, delegated_atomic: int | None) -> str | None:
    """What the session moved on chain more than the ledger knows of, in words; None when it did not.

    What settles was reserved before: a ledger that is read after the chain has every payment that the chain showed. If
    more is gone all the same, the ledger was restored, or is not the only one.
    """
    if delegated_atomic is None:
        return None
    missing = atomic(row.allowance) - spent_atomic - delegated_atomic
    if missing <= 0:
        return None
    assert row.currency is not None
    return f"session {row.id} moved {show(missing, row.currency)} more than the ledger knows of"


def refusal_of(row: SessionRow, payments: int, now: datetime) -> Refused | None:
    """Why the session may not make one more payment now, if so."""
    if row.status is SessionStatus.REVOKED:
        return Refused(reason=RefusalReason.SESSION_MISSING, message="the agent's session was revoked")
    if row.status is SessionStatus.ACTIVE and not is_granted(row):
        submit = command_line("session", "submit", row.id)
        message = f"the agent's session waits for its owner's signature: {submit}"
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


async def end_sessions(db: AsyncSession, *which: object, status: SessionStatus = SessionStatus.EXPIRED) -> int:
    """End those of the sessions that are ACTIVE, and destroy their keys; returns how many."""
    ended = await db.execute(
        update(SessionRow)
        .where(SessionRow.status == SessionStatus.ACTIVE, *which)  # type: ignore[arg-type]
        .values(status=status, session_token=DESTROYED)
        .returning(SessionRow.id)
    )
    return len(ended.all())
