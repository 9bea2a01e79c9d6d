"""All agents at once: what each spent, may still spend, and has waiting. A handful of queries, however many agents."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, lateral, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from autopay.adapters.postgres.database.rows import agent_record, atomic
from autopay.adapters.postgres.payments.policy_check import TODAY
from autopay.adapters.postgres.sessions.records import session_record, session_records
from autopay.adapters.postgres.sessions.scope import sql_is_granted
from autopay.adapters.postgres.tables.core import (
    AgentRow,
    BalanceSnapshotRow,
    QueueRow,
    RequestRow,
    SessionRow,
    TransactionRow,
)
from autopay.adapters.postgres.tables.policy import ApprovalRow
from autopay.domain.agent.records import AgentSummary, BalanceRecord, SpendableRecord
from autopay.domain.money import Currency
from autopay.domain.payment.status import OPEN, SPENT
from autopay.domain.policy.records import ApprovalStatus
from autopay.domain.session import SessionRecord, SessionStatus

NEWEST_READINGS = 2 * len(Currency)
"""An agent's readings come one a currency at a time: among so many is the newest of each."""


async def summaries(db: AsyncSession) -> Sequence[AgentSummary]:
    """Every agent that is not archived, by name."""
    now = await db.scalar(select(func.clock_timestamp()))
    assert now is not None
    rows = (await db.scalars(select(AgentRow).where(AgentRow.archived_at.is_(None)).order_by(AgentRow.name))).all()
    spent, today, payments, open_payments = await _totals(db)
    spendable = await _spendable(db, now)
    queued, asked = await _waiting(db), await _asked(db)
    return [
        AgentSummary(
            agent=agent_record(row),
            spent_atomic=spent[row.id],
            spent_today_atomic=today[row.id],
            payments=payments[row.id],
            open_payments=open_payments[row.id],
            queued=queued.get(row.id, 0),
            asked=asked.get(row.id, 0),
            spendable=tuple(spendable.get(row.name, ())),
        )
        for row in rows
    ]


async def _totals(
    db: AsyncSession,
) -> tuple[
    dict[UUID, dict[Currency, int]], dict[UUID, dict[Currency, int]], defaultdict[UUID, int], defaultdict[UUID, int]
]:
    """By agent: spent in all, spent since midnight UTC, how many payments that were, how many are open."""
    is_spent = TransactionRow.status.in_(SPENT)
    amount = func.coalesce(func.sum(TransactionRow.amount).filter(is_spent), 0)
    today = func.coalesce(func.sum(TransactionRow.amount).filter(is_spent, TransactionRow.created_at >= TODAY), 0)
    query = (
        select(
            TransactionRow.agent_id,
            TransactionRow.currency,
            amount,
            today,
            func.count().filter(is_spent),
            func.count().filter(TransactionRow.status.in_(OPEN)),
        )
        .group_by(TransactionRow.agent_id, TransactionRow.currency)
        .order_by(TransactionRow.currency)
    )
    spent: dict[UUID, dict[Currency, int]] = defaultdict(dict)
    spent_today: dict[UUID, dict[Currency, int]] = defaultdict(dict)
    payments: defaultdict[UUID, int] = defaultdict(int)
    still_open: defaultdict[UUID, int] = defaultdict(int)
    for agent_id, currency, in_all, of_today, paid, unresolved in await db.execute(query):
        if paid:
            spent[agent_id][currency] = atomic(in_all)
        if of_today:
            spent_today[agent_id][currency] = atomic(of_today)
        payments[agent_id] += paid
        still_open[agent_id] += unresolved
    return spent, spent_today, payments, still_open


async def _spendable(db: AsyncSession, now: datetime) -> dict[str, list[SpendableRecord]]:
    """By agent's name: what its sessions leave in each currency that it reads, or why they pay nothing."""
    query = session_records().where(SessionRow.status == SessionStatus.ACTIVE, sql_is_granted())
    sessions = [session_record(*row) for row in await db.execute(query)]
    open_now = {(each.agent, each.currency): each for each in reversed(sessions)}  # the newest of each stays
    spendable: dict[str, list[SpendableRecord]] = defaultdict(list)
    readings = await _readings(db)
    for agent, currency in dict.fromkeys((*readings, *open_now)):
        session, reading = open_now.get((agent, currency)), readings.get((agent, currency))
        spendable[agent].append(_spendable_record(currency, session, reading, now))
    return spendable


def _spendable_record(
    currency: Currency, session: SessionRecord | None, reading: BalanceRecord | None, now: datetime
) -> SpendableRecord:
    problem, left = "no session", 0
    if session is not None:
        left = session.allowance_atomic - session.reserved_atomic
        if reading is not None and reading.snapshot_at > session.created_at:
            left = min(left, reading.balance_atomic)
        problem = ""
        if session.expires_at <= now:
            problem = f"session expired {session.expires_at:%F %T} UTC"
        elif session.payments >= session.tx_limit:
            problem = f"session's {session.tx_limit} payments are made"
    return SpendableRecord(
        currency=currency,
        spendable_atomic=0 if problem else max(0, left),
        needed_atomic=None if reading is None else reading.threshold_atomic,
        problem=problem or None,
        pauses=reading is not None and reading.status == "PAUSED",
        read_at=None if reading is None else reading.snapshot_at,
    )


async def _readings(db: AsyncSession) -> dict[tuple[str, Currency], BalanceRecord]:
    """The newest balance reading of each agent and currency."""
    newest = lateral(
        select(BalanceSnapshotRow)
        .where(BalanceSnapshotRow.agent_id == AgentRow.id)
        .order_by(BalanceSnapshotRow.snapshot_at.desc())
        .limit(NEWEST_READINGS)
    )
    columns = (newest.c.currency, newest.c.balance, newest.c.threshold, newest.c.status, newest.c.snapshot_at)
    query = select(AgentRow.name, *columns).join(newest, true()).order_by(newest.c.snapshot_at)
    return {
        (name, currency): BalanceRecord(
            currency=currency,
            balance_atomic=atomic(balance),
            threshold_atomic=atomic(threshold),
            status=status.value,
            snapshot_at=at,
        )
        for name, currency, balance, threshold, status, at in await db.execute(query)
    }


async def _waiting(db: AsyncSession) -> dict[UUID, int]:
    """By agent: requests in its queue."""
    query = (
        select(QueueRow.agent_id, func.count())
        .join(RequestRow, RequestRow.id == QueueRow.api_request_id)
        .where(QueueRow.processed_at.is_(None), RequestRow.closed_at.is_(None))
        .group_by(QueueRow.agent_id)
    )
    return {agent_id: count for agent_id, count in await db.execute(query)}  # noqa: C416 (rows are no pairs to mypy)


async def _asked(db: AsyncSession) -> dict[UUID, int]:
    """By agent: requests that wait for a person."""
    query = (
        select(ApprovalRow.agent_id, func.count())
        .join(RequestRow, RequestRow.x402_request_id == ApprovalRow.x402_request_id)
        .where(
            ApprovalRow.status == ApprovalStatus.PENDING,
            ApprovalRow.expires_at > func.clock_timestamp(),
            RequestRow.closed_at.is_(None),
        )
        .group_by(ApprovalRow.agent_id)
    )
    return {agent_id: count for agent_id, count in await db.execute(query)}  # noqa: C416 (rows are no pairs to mypy)
