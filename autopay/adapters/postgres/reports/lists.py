"""What the API and the page list beside payments: requests, sessions, readings of balances, sellers."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, select, tuple_

from autopay.adapters.postgres.database.rows import atomic
from autopay.adapters.postgres.database.transaction import Database, agent_named
from autopay.adapters.postgres.payments.policies import approval_record
from autopay.adapters.postgres.reports.list_queries import (
    approvals_query,
    balances_query,
    requests_query,
    seller_times_query,
    sellers_query,
)
from autopay.adapters.postgres.sessions.records import session_record, session_records
from autopay.adapters.postgres.tables.core import SessionRow
from autopay.domain.policy.records import ApprovalRecord
from autopay.domain.report.filter import Cursor, Filter, Page
from autopay.domain.report.lists import BalanceRow, ListedRequest, SellerRow, SellerTime
from autopay.domain.session import SessionRecord

EVERYTHING = Filter()


class Lists:
    """Reading only. Where an agent is named that the ledger does not know, `UnknownAgent` is raised."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def requests(
        self, wanted: Filter = EVERYTHING, *, after: str | None = None, limit: int = 50
    ) -> Page[ListedRequest]:
        """Requests, newest first. `wanted.statuses` are words of `RequestStatus`; amounts are prices."""
        place = None if after is None else Cursor.parse(after)
        async with self._database.transaction() as db:
            agent_id = None if wanted.agent is None else (await agent_named(db, wanted.agent)).id
            found = await db.execute(requests_query(wanted, agent_id, place, limit + 1))
            rows = [_listed(row) for row in found]
        return Page(rows=tuple(rows[:limit]), next=rows[limit - 1].cursor if len(rows) > limit else None)

    async def sessions(
        self, agent: str | None = None, *, active: bool = False, after: str | None = None, limit: int = 50
    ) -> Page[SessionRecord]:
        """Sessions, newest first; with `active` those alone that may pay."""
        chosen = select(SessionRow.id).where(SessionRow.public_key.is_not(None))
        if active:
            chosen = chosen.where(SessionRow.status == "ACTIVE")
        if after is not None:
            place = Cursor.parse(after)
            chosen = chosen.where(tuple_(SessionRow.created_at, SessionRow.id) < (place.at, place.row_id))
        async with self._database.transaction() as db:
            if agent is not None:
                chosen = chosen.where(SessionRow.agent_id == (await agent_named(db, agent)).id)
            chosen = chosen.order_by(SessionRow.created_at.desc(), SessionRow.id.desc()).limit(limit + 1)
            ids = (await db.scalars(chosen)).all()
            query = session_records().where(SessionRow.id.in_(ids[:limit]))
            rows = [session_record(*row) for row in await db.execute(query)]
        more = len(ids) > limit
        last = rows[-1] if more else None
        return Page(
            rows=tuple(rows), next=None if last is None else str(Cursor(at=last.created_at, row_id=last.session_id))
        )

    async def approvals(
        self, agent: str | None = None, *, undecided: bool = True, after: str | None = None, limit: int = 50
    ) -> Page[ApprovalRecord]:
        """What a person is or was asked, newest first; with `undecided` only what still waits."""
        place = None if after is None else Cursor.parse(after)
        async with self._database.transaction() as db:
            agent_id = None if agent is None else (await agent_named(db, agent)).id
            query = approvals_query(agent_id, place, limit + 1, undecided=undecided)
            rows = [approval_record(row, name) for row, name in await db.execute(query)]
        last = rows[limit - 1] if len(rows) > limit else None
        following = None if last is None else str(Cursor(at=last.created_at, row_id=last.approval_id))
        return Page(rows=tuple(rows[:limit]), next=following)

    async def balances(
        self,
        agent: str | None = None,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        every: timedelta | None = None,
        after: str | None = None,
        limit: int = 50,
    ) -> Page[BalanceRow]:
        """Readings of balances, newest first; with `every` the last one alone of each such span."""
        place = None if after is None else Cursor.parse(after)
        async with self._database.transaction() as db:
            agent_id = None if agent is None else (await agent_named(db, agent)).id
            found = await db.execute(balances_query(agent_id, (since, until), every, place, limit + 1))
            rows = [_balance(row) for row in found]
        return Page(rows=tuple(rows[:limit]), next=rows[limit - 1].cursor if len(rows) > limit else None)

    async def sellers(
        self, since: datetime, agent: str | None = None, host: str | None = None, limit: int | None = None
    ) -> Sequence[SellerRow]:
        """By seller's host: how its requests ended since then, what they cost, and how long an answer took; those first
        that were asked most."""
        async with self._database.transaction() as db:
            agent_id = None if agent is None else (await agent_named(db, agent)).id
            found = await db.execute(sellers_query(since, agent_id, host, limit))
            return [_seller(row) for row in found]

    async def seller_times(
        self, since: datetime, every: timedelta, agent: str | None = None, hosts: Sequence[str] | None = None
    ) -> Sequence[SellerTime]:
        """The same over time, in spans of that length from `since` on; spans without a request are left out."""
        async with self._database.transaction() as db:
            agent_id = None if agent is None else (await agent_named(db, agent)).id
            found = await db.execute(seller_times_query(since, every, agent_id, hosts))
            return [SellerTime.model_validate(dict(row._mapping)) for row in found]


def _listed(row: Row[Any]) -> ListedRequest:
    values = dict(row._mapping)
    price = values.pop("price")
    return ListedRequest.model_validate(values | {"price_atomic": None if price is None else atomic(price)})


def _balance(row: Row[Any]) -> BalanceRow:
    values = dict(row._mapping)
    amounts = {f"{name}_atomic": atomic(values.pop(name)) for name in ("balance", "threshold")}
    return BalanceRow.model_validate(values | amounts)


def _seller(row: Row[Any]) -> SellerRow:
    values = dict(row._mapping)
    spent = {name: atomic(values.pop(f"{name}_amount")) for name in ("usdc", "cash")}
    return SellerRow.model_validate(values | {f"{name}_atomic": amount for name, amount in spent.items()})
