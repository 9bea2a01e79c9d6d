"""`Database`, which every part of the ledger holds: opens transactions, translates faults; and the rows they lock."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import Select, bindparam, event, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import InstrumentedAttribute, ORMExecuteState, QueryContext, Session, UOWTransaction, defer
from sqlalchemy.orm.attributes import set_committed_value

from autopay.adapters.postgres.database.connection import SNAPSHOT, fault_of
from autopay.adapters.postgres.database.notifier import Notifier
from autopay.adapters.postgres.database.timing import COMMIT
from autopay.adapters.postgres.tables.core import AgentRow, Base, RequestRow, SessionRow, TransactionRow
from autopay.domain.errors import UnknownAgent, UnknownRequest
from autopay.metrics.recording import timed
from autopay.metrics.table import SQL_SECONDS

READ_AGAIN = {"populate_existing": True}
"""For locks: what others committed while one waited counts. SQLAlchemy else keeps what a transaction read before."""

_AGENT = select(AgentRow).where(AgentRow.name == bindparam("name"))
_LOCKED_AGENT = _AGENT.with_for_update(key_share=True).execution_options(**READ_AGAIN)
_REQUEST = (
    select(RequestRow, AgentRow.name)
    .join(AgentRow, AgentRow.id == RequestRow.agent_id)
    .where(RequestRow.x402_request_id == bindparam("request_key"))
)
_LOCKED_REQUEST = _REQUEST.with_for_update(of=RequestRow, key_share=True).execution_options(**READ_AGAIN)


class _Session(Session):
    """Remembers in `info` whether it wrote."""


@event.listens_for(_Session, "after_flush")
def _flushed(session: Session, _: UOWTransaction) -> None:
    session.info["wrote"] = True


@event.listens_for(_Session, "do_orm_execute")
def _executed(state: ORMExecuteState) -> None:
    if state.is_insert or state.is_update or state.is_delete:
        state.session.info["wrote"] = True


class _Reader(Session):
    """Reads no sealed column, as the role that only reads may not: a row that it reads has None there."""


@event.listens_for(_Reader, "do_orm_execute")
def _leave_out_sealed(state: ORMExecuteState) -> None:
    statement = state.statement
    if not isinstance(statement, Select):  # no union here is of whole rows
        return
    for described in statement.column_descriptions:
        columns = _SEALED.get(described["expr"], ())  # of whole rows alone
        statement = statement.options(*(defer(column) for column in columns))
    state.statement = statement


def _has_none(row: Base, context: QueryContext) -> None:
    if isinstance(context.session, _Reader):
        for column in _SEALED[type(row)]:
            set_committed_value(row, column.key, None)


_SEALED: Mapping[Any, tuple[InstrumentedAttribute[Any], ...]] = {
    RequestRow: (RequestRow.sealed_extras,),
    SessionRow: (SessionRow.session_token,),
    TransactionRow: (TransactionRow.sealed_payment,),
}
for _row in _SEALED:
    event.listen(_row, "load", _has_none)


class Database:
    """The pool of connections: opens transactions, translates the database's errors to faults, wakes readers.

    With `reads_only` rows have nothing in columns that hold what is sealed.
    """

    def __init__(self, engine: AsyncEngine, *, reads_only: bool = False) -> None:
        self.engine = engine
        kind = _Reader if reads_only else _Session
        self._open = async_sessionmaker(engine, expire_on_commit=False, sync_session_class=kind)
        self._notifier = Notifier(engine)

    async def dispose(self) -> None:
        """Close every connection."""
        await self._notifier.close()
        await self.engine.dispose()

    @asynccontextmanager
    async def transaction(self, *, snapshot: bool = False, notify_within_s: float = 0) -> AsyncIterator[AsyncSession]:
        """One transaction, committed at the end of the block; with `snapshot` all its statements see one moment.

        Readers are notified of what it wrote within `notify_within_s`: a while later when nobody waits for it.

        A connection that is lost while committing leaves open whether it did. Every method of the ledger may
        therefore be called again with the same arguments.
        """
        try:
            async with self._open() as db:
                await _begin(db, SNAPSHOT if snapshot else {})
                yield db
                with timed(SQL_SECONDS, statement=COMMIT):
                    await db.commit()
            if db.info.get("wrote"):
                self._notifier.notify(notify_within_s)
        except (SQLAlchemyError, OSError) as error:
            fault = fault_of(error)
            if fault is None:
                raise
            raise fault from error


async def _begin(db: AsyncSession, options: dict[str, str]) -> None:
    """Begin the transaction: on another connection when the pooled one has died, as nothing was done on that."""
    try:
        await db.connection(execution_options=options)
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
        await db.rollback()
        await db.connection(execution_options=options)


async def agent_named(db: AsyncSession, name: str, *, lock: bool = False) -> AgentRow:
    """The agent's row.

    Raises:
        UnknownAgent: there is none of that name.
    """
    row = await db.scalar(_LOCKED_AGENT if lock else _AGENT, {"name": name})
    if row is None:
        raise UnknownAgent(name)
    return row


async def request_and_agent(db: AsyncSession, request_key: str, *, lock: bool = False) -> tuple[RequestRow, str]:
    """The request's row, locked against every other change if asked, and its agent's name.

    Raises:
        UnknownRequest: there is none of that key.
    """
    found = (await db.execute(_LOCKED_REQUEST if lock else _REQUEST, {"request_key": request_key})).one_or_none()
    if found is None:
        raise UnknownRequest(request_key)
    return found[0], found[1]


async def locked_request(db: AsyncSession, request_key: str) -> RequestRow:
    """The request's row, locked against every other change.

    Raises:
        UnknownRequest: there is none of that key.
    """
    row, _ = await request_and_agent(db, request_key, lock=True)
    return row
