"""What the owners of sessions' accounts sign: what they were asked for, and what the chain shows of it by now."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from autopay.adapters.postgres.database import fault_of
from autopay.adapters.postgres.sessions.records import session_record, session_records
from autopay.adapters.postgres.sessions.scope import (
    OWNER_TRANSACTION,
    duration_of,
    is_granted,
    sql_is_granted,
    with_owner_transaction,
)
from autopay.adapters.postgres.sessions.sessions import end_rows
from autopay.adapters.postgres.tables.core import AgentRow, SessionRow
from autopay.adapters.postgres.transaction import Transactional
from autopay.domain.errors import LedgerUnavailable
from autopay.domain.session import OwnerTransaction, SessionRecord, SessionStatus

TURN_POLL_S = 0.1
TURN_PATIENCE_S = 90


class Grants(Transactional):
    """Sessions that wait for their owner."""

    async def await_owner(self, session_id: UUID, transaction: OwnerTransaction) -> bool:
        """Record what the owner is asked to sign now, in place of what it was asked before.

        False when there is nothing to sign: a grant of a session that is granted, or has ended.
        """
        async with self._transaction() as db:
            row = await db.get_one(SessionRow, session_id, with_for_update={"key_share": True})
            if transaction.does == "grant" and (row.status is not SessionStatus.ACTIVE or is_granted(row)):
                return False
            row.scope = with_owner_transaction(row.scope, transaction)
            return True

    async def granted(self, session_id: UUID) -> bool:
        """The chain shows the delegation: the session pays from now on, for its whole duration.

        The agent's older sessions in that currency end. False when this one has ended meanwhile; called again it
        changes nothing.
        """
        async with self._transaction() as db:
            agent_id = await db.scalar(select(SessionRow.agent_id).where(SessionRow.id == session_id))
            await db.get_one(AgentRow, agent_id, with_for_update={"key_share": True})
            row = await db.get_one(SessionRow, session_id, with_for_update={"key_share": True})
            if is_granted(row) or row.status is not SessionStatus.ACTIVE:
                return row.status is SessionStatus.ACTIVE
            await end_rows(
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

    async def brought_back(self, session_id: UUID) -> None:
        """The chain shows that the owner revoked: there is nothing left to sign."""
        async with self._transaction() as db:
            row = await db.get_one(SessionRow, session_id, with_for_update={"key_share": True})
            row.scope = with_owner_transaction(row.scope, None)

    async def session_awaiting(self, message: str) -> SessionRecord | None:
        """The session whose owner was asked to sign that message (base64), if it was the last one asked for."""
        query = session_records().where(SessionRow.scope[OWNER_TRANSACTION]["message"].astext == message)
        async with self._transaction() as db:
            row = (await db.execute(query)).first()
            return None if row is None else session_record(*row)

    @asynccontextmanager
    async def turn(self, agent: str) -> AsyncIterator[None]:
        """One at a time grants sessions to an agent and starts it; who comes second waits.

        An advisory lock on a connection of its own: it goes with the process, however that ends, and with the
        connection, so it saves from granting twice and nothing else may depend on it.

        Raises:
            LedgerUnavailable: the database does not answer, or whose turn it is does not end.
        """
        key = {"name": f"autopay/turn/{agent}"}
        async with self._locking() as lock:
            deadline = time.monotonic() + TURN_PATIENCE_S
            while not await lock.scalar(text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))"), key):
                if time.monotonic() > deadline:
                    raise LedgerUnavailable(f"another command has been granting sessions to {agent} for too long")
                await asyncio.sleep(TURN_POLL_S)
            try:
                yield
            finally:
                with suppress(SQLAlchemyError):  # the connection is lost, and the lock with it
                    await lock.execute(text("SELECT pg_advisory_unlock(hashtextextended(:name, 0))"), key)

    @asynccontextmanager
    async def _locking(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with self.engine.connect() as connection:
                yield await connection.execution_options(isolation_level="AUTOCOMMIT")
        except (SQLAlchemyError, OSError) as error:
            fault = fault_of(error)
            if fault is None:
                raise
            raise fault from error
