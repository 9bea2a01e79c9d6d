"""Following the ledger as it grows: `async for event in ledger.events.follow(...)`, for web pages and other services.

Events are rows of `audit_events` in the order (`xid`, `id`): by transaction, and within one as they came about. Only
what is older than every open transaction is given out, so that nothing can appear later in front of what was read: no
event is missed and none comes twice, whatever is committed in which order. A transaction that stays open holds back
what began after it. Transactions of one agent that ran at the same time come by their number; `seq` is the agent's
own order of them.

Readers are woken by `database/notifier.py`, and look by themselves when they are not.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from sqlalchemy import BigInteger, Row, Select, Subquery, Text, cast, func, select, tuple_, union_all

from autopay.adapters.postgres.database.connection import connect_arguments
from autopay.adapters.postgres.database.notifier import CHANNEL
from autopay.adapters.postgres.database.rows import atomic
from autopay.adapters.postgres.database.transaction import Database, agent_named
from autopay.adapters.postgres.tables.audit import AuditEventRow
from autopay.adapters.postgres.tables.core import AgentRow, RequestRow, TransactionRow
from autopay.adapters.postgres.tables.policy import ApprovalRow
from autopay.domain.backoff import MAX_DOUBLINGS
from autopay.domain.errors import CursorLost, LedgerUnavailable
from autopay.domain.money import Currency
from autopay.domain.values import Value

START = "0:0"
"""The cursor before the first event."""

PAGE = 500
POLL_S = 2.0
"""How often a reader looks when nothing wakes it."""

SOON_S = 0.05
"""How soon it looks again after it was woken in vain: an older transaction is still open."""

LONGEST_PAUSE_S = 5.0

Outage = Callable[[LedgerUnavailable], None]


class LedgerEvent(Value):
    """One change of one row.

    `kind` is the table and what happened, like "transactions.changed"; `values` has the row as it was made, or what
    changed of it. `request_id`, `amount_atomic` and `currency` say what a payment is about, when it is one.
    """

    cursor: str
    at: datetime
    agent: str | None
    agent_id: UUID
    seq: int
    kind: str
    row_id: UUID
    request_id: str | None
    amount_atomic: int | None
    currency: Currency | None
    values: dict[str, Any]


class Events:
    """Reading only."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, *, after: str = START, agent: str | None = None, limit: int = PAGE) -> Sequence[LedgerEvent]:
        """Events behind the cursor, the oldest first; empty when there are none yet.

        Raises:
            UnknownAgent: there is none of that name.
            ValueError: `after` is not a cursor.
        """
        place = parse_cursor(after)
        async with self._database.transaction() as db:
            agent_id = None if agent is None else (await agent_named(db, agent)).id
            return [_event(row) for row in await db.execute(events_query(place, agent_id, limit))]

    async def newest(self, *, agent: str | None = None, limit: int) -> Sequence[LedgerEvent]:
        """The last events, the oldest of them first."""
        async with self._database.transaction() as db:
            agent_id = None if agent is None else (await agent_named(db, agent)).id
            found = await db.execute(events_query(None, agent_id, limit))
            return [_event(row) for row in found]

    async def newest_cursor(self) -> str:
        """The cursor of the newest event that can be read, `START` before the first."""
        newest = await self.newest(limit=1)
        return newest[-1].cursor if newest else START

    async def of_request(self, request_key: str) -> Sequence[LedgerEvent]:
        """What happened to one request: its own events, and those of its payments and approvals; the oldest first."""
        rows = union_all(
            *(select(table.id).where(table.x402_request_id == request_key) for table in (RequestRow, TransactionRow)),
            select(ApprovalRow.id).where(ApprovalRow.x402_request_id == request_key),
        )
        async with self._database.transaction() as db:
            ids = (await db.scalars(rows)).all()
            chosen = select(AuditEventRow).where(AuditEventRow.row_id.in_(ids)).subquery()
            return [_event(row) for row in await db.execute(_with_names(chosen))]

    async def follow(
        self, *, after: str | None = None, tail: int = 0, agent: str | None = None, on_outage: Outage | None = None
    ) -> AsyncGenerator[LedgerEvent, None]:
        """Events as they are committed, for ever. Goes on by itself after an outage of the database.

        Args:
            after: a cursor: everything behind it, then what is new. `START` is everything.
            tail: without a cursor: so many of the last events first.
            agent: of this agent only.
            on_outage: hears of each attempt that failed.

        Raises:
            UnknownAgent: there is none of that name.
            ValueError: `after` is not a cursor.
            CursorLost: there is no event at `after`, or at the last one given out before an outage.
        """
        place = after
        pause = SOON_S
        while True:
            try:
                if place is None:
                    place, last = await self._begin(agent, tail)
                    for event in last:
                        yield event
                await self.require(place)
                # Listens before it looks: what is committed after the look is notified.
                async with self.listening() as woken:
                    vain = 0
                    while True:
                        page = await self.page(after=place, agent=agent)
                        pause = SOON_S
                        for event in page:
                            place = event.cursor
                            yield event
                        vain = 0 if page else vain + 1
                        if len(page) < PAGE and await woken(pause_after(vain)):
                            vain = 0
            except LedgerUnavailable as fault:
                if on_outage is not None:
                    on_outage(fault)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_S)

    async def require(self, cursor: str) -> None:
        """See that the cursor's event is there: none is ever deleted, but a restored ledger numbers anew.

        Raises:
            CursorLost: it is not.
            ValueError: not a cursor.
        """
        xid, number = parse_cursor(cursor)
        there = select(AuditEventRow.id).where(AuditEventRow.xid == xid, AuditEventRow.id == number)
        async with self._database.transaction() as db:
            if cursor != START and await db.scalar(there) is None:
                raise CursorLost(cursor)

    async def _begin(self, agent: str | None, tail: int) -> tuple[str, Sequence[LedgerEvent]]:
        """The cursor of the newest event, and the last `tail` ones up to it."""
        newest = await self.newest(agent=agent, limit=max(tail, 1))
        return (newest[-1].cursor if newest else START), newest[len(newest) - tail :] if tail else ()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Callable[[float], Awaitable[bool]]]:
        """Waits for a NOTIFY on a connection of its own; True when one came within so many seconds.

        Through a connection pooler none comes: who waits looks for changes from time to time as well.

        Raises:
            LedgerUnavailable: the connection cannot be made, or is lost.
        """
        url = self._database.engine.url
        parameters = url.translate_connect_args(username="user", database="dbname") | dict(url.query)
        try:
            async with await psycopg.AsyncConnection.connect(
                autocommit=True, **parameters, **connect_arguments(url)
            ) as connection:
                await connection.execute(f"LISTEN {CHANNEL}")

                async def woken(timeout_s: float) -> bool:
                    try:
                        return [None async for _ in connection.notifies(timeout=timeout_s, stop_after=1)] != []
                    except psycopg.OperationalError as error:
                        raise LedgerUnavailable(str(error).split("\n")[0]) from error

                yield woken
        except psycopg.OperationalError as error:
            raise LedgerUnavailable(str(error).split("\n")[0]) from error


def pause_after(vain: int) -> float:
    """Seconds until a reader looks again that has looked so many times in vain, if nothing wakes it."""
    return min(SOON_S * (1 << min(vain, MAX_DOUBLINGS)), POLL_S)


def parse_cursor(text: str) -> tuple[int, int]:
    """The transaction and the event that a cursor names.

    Raises:
        ValueError: not a cursor.
    """
    xid, colon, number = text.partition(":")
    if not (colon and xid.isascii() and xid.isdigit() and number.isascii() and number.isdigit()):
        raise ValueError(f"{text!r} is not a cursor")
    return int(xid), int(number)


def events_query(after: tuple[int, int] | None, agent_id: UUID | None, limit: int) -> Select[*tuple[Any, ...]]:
    """Events behind that place, oldest first; without a place, the last ones."""
    of = AuditEventRow
    oldest_open = cast(cast(func.pg_snapshot_xmin(func.pg_current_snapshot()), Text()), BigInteger())
    chosen = select(of).where(of.xid < oldest_open)
    if agent_id is not None:
        chosen = chosen.where(of.agent_id == agent_id)
    if after is not None:
        chosen = chosen.where(tuple_(of.xid, of.id) > after).order_by(of.xid, of.id)
    else:
        chosen = chosen.order_by(of.xid.desc(), of.id.desc())
    return _with_names(chosen.limit(limit).subquery())


def _with_names(page: Subquery) -> Select[*tuple[Any, ...]]:
    """These events with what they are about, oldest first."""
    event = page.c
    asked, own = RequestRow.__table__.alias("asked"), RequestRow.__table__.alias("own")
    paid, agent = TransactionRow.__table__, AgentRow.__table__
    return (
        select(
            event.xid,
            event.id,
            event.at,
            event.agent_id,
            event.seq,
            event.kind,
            event.row_id,
            event.payload,
            agent.c.name.label("agent"),
            func.coalesce(asked.c.request_id, own.c.request_id).label("request_id"),
            paid.c.amount,
            paid.c.currency,
        )
        .select_from(page)
        .outerjoin(agent, agent.c.id == event.agent_id)
        .outerjoin(paid, paid.c.id == event.row_id)  # ids are UUIDs: no other table's row has this one
        .outerjoin(asked, asked.c.x402_request_id == paid.c.x402_request_id)
        .outerjoin(own, own.c.id == event.row_id)
        .order_by(event.xid, event.id)
    )


def _event(row: Row[Any]) -> LedgerEvent:
    return LedgerEvent(
        cursor=f"{row.xid}:{row.id}",
        at=row.at,
        agent=row.agent,
        agent_id=row.agent_id,
        seq=row.seq,
        kind=row.kind,
        row_id=row.row_id,
        request_id=row.request_id,
        amount_atomic=None if row.amount is None else atomic(row.amount),
        currency=row.currency,
        values=json.loads(row.payload)["values"] or {},
    )
