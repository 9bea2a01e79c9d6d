"""What each agent has spent, may still spend, and has waiting: of one agent or of all, in one snapshot of the ledger.

A handful of queries, however many agents. Money is told as `ledger spend` tells it: spent is VERIFIED, open is what has
no outcome yet, receipts that the chain has not confirmed at finalized among it.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy import ColumnElement, Select, and_, func, lateral, select, true
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from autopay.adapters.postgres.database.rows import agent_record, atomic
from autopay.adapters.postgres.payments.policy_check import TODAY
from autopay.adapters.postgres.sessions.records import COUNTS_AS_SPENT, session_record, session_records
from autopay.adapters.postgres.tables.core import (
    AgentRow,
    BalanceSnapshotRow,
    QueueRow,
    RequestRow,
    SessionRow,
    TransactionRow,
)
from autopay.adapters.postgres.tables.policy import ApprovalRow, PolicyRow
from autopay.domain.agent.records import AgentSummary, BalanceRecord, OpenQuestion
from autopay.domain.agent.spec import SavedAgent
from autopay.domain.money import Currency
from autopay.domain.payment.status import OPEN, TransactionStatus
from autopay.domain.policy.policy import Policy
from autopay.domain.policy.records import ApprovalStatus, PolicyInForce
from autopay.domain.request import RequestStatus
from autopay.domain.session import SessionRecord

NEWEST_READINGS = 2 * len(Currency)
"""An agent's readings come one a currency at a time: among so many is the newest of each."""


async def summaries(db: AsyncSession, only: UUID | None = None) -> Sequence[AgentSummary]:
    """Every agent that is not archived, by name; or that one only. In a transaction that is a snapshot."""
    now = await db.scalar(select(func.clock_timestamp()))
    assert now is not None
    which = AgentRow.archived_at.is_(None) if only is None else AgentRow.id == only
    rows = (await db.scalars(select(AgentRow).where(which).order_by(AgentRow.name))).all()
    money, policies = await _money(db, only), await _policies(db, only)
    ended, begun, waiting = await _ended(db, only), await _begun(db, only), await _waiting(db, only)
    questions, sessions, readings = await _questions(db, only), await _sessions(db, only), await _readings(db, only)
    return [
        AgentSummary(
            agent=agent_record(row),
            at=now,
            spent_atomic=money[row.id].spent,
            spent_today_atomic=money[row.id].today,
            open_atomic=money[row.id].open,
            payments=money[row.id].payments,
            open_payments=money[row.id].open_payments,
            ended=ended[row.id],
            waiting=frozenset(waiting[row.id]),
            begun=frozenset(begun[row.id]),
            questions=tuple(questions[row.id]),
            pause=_pause(row.priority_rules),
            sessions=tuple(each for each in sessions[row.name] if each.granted and each.status == "ACTIVE"),
            last_sessions=tuple({each.currency: each for each in reversed(sessions[row.name])}.values()),
            readings=tuple(readings[row.id]),
            policy=_in_force(row, policies, money[row.id].counted_today),
        )
        for row in rows
    ]


class _Money:
    """An agent's sums in base units; `counted_today` is what its policy counts, outcomes that are unknown included."""

    def __init__(self) -> None:
        self.spent: dict[Currency, int] = {}
        self.today: dict[Currency, int] = {}
        self.open: dict[Currency, int] = {}
        self.payments = self.open_payments = self.counted_today = 0


def _of(column: InstrumentedAttribute[Any], only: UUID | None) -> ColumnElement[bool]:
    return true() if only is None else column == only


async def _money(db: AsyncSession, only: UUID | None) -> dict[UUID, _Money]:
    paid = TransactionRow
    is_spent, is_open = paid.status == TransactionStatus.VERIFIED, paid.status.in_(OPEN)
    today = paid.created_at >= TODAY

    def total(which: ColumnElement[bool]) -> ColumnElement[Decimal]:
        return func.coalesce(func.sum(paid.amount).filter(which), Decimal(0))

    query = (
        select(
            paid.agent_id,
            paid.currency,
            total(is_spent),
            total(and_(is_spent, today)),
            total(is_open),
            total(and_(COUNTS_AS_SPENT, today)),
            func.count().filter(is_spent),
            func.count().filter(is_open),
        )
        .where(_of(paid.agent_id, only))
        .group_by(paid.agent_id, paid.currency)
        .order_by(paid.currency)
    )
    found: defaultdict[UUID, _Money] = defaultdict(_Money)
    for agent_id, currency, spent, of_today, still_open, counted, payments, open_payments in await db.execute(query):
        money = found[agent_id]
        for sums, amount in ((money.spent, spent), (money.today, of_today), (money.open, still_open)):
            if amount:
                sums[currency] = atomic(amount)
        money.payments += payments
        money.open_payments += open_payments
        money.counted_today += atomic(counted)
    return found


async def _ended(db: AsyncSession, only: UUID | None) -> dict[UUID, dict[RequestStatus, int]]:
    """By agent: how many of its requests ended how."""
    query = (
        select(RequestRow.agent_id, RequestRow.outcome, func.count())
        .where(RequestRow.closed_at.is_not(None), _of(RequestRow.agent_id, only))
        .group_by(RequestRow.agent_id, RequestRow.outcome)
    )
    found: defaultdict[UUID, dict[RequestStatus, int]] = defaultdict(dict)
    for agent_id, outcome, count in await db.execute(query):
        if outcome is not None:
            found[agent_id][RequestStatus(outcome)] = count
    return found


async def _request_ids(db: AsyncSession, query: Select[UUID, str | None]) -> dict[UUID, list[str]]:
    """By agent, what a query of agents and request ids finds."""
    found: defaultdict[UUID, list[str]] = defaultdict(list)
    for agent_id, request_id in await db.execute(query):
        if request_id is not None:
            found[agent_id].append(request_id)
    return found


async def _begun(db: AsyncSession, only: UUID | None) -> dict[UUID, list[str]]:
    """By agent: the ids of requests that have begun and not ended."""
    waits = select(QueueRow.id).where(QueueRow.api_request_id == RequestRow.id, QueueRow.processed_at.is_(None))
    query = select(RequestRow.agent_id, RequestRow.request_id).where(
        RequestRow.closed_at.is_(None),
        ~waits.exists(),
        _of(RequestRow.agent_id, only),
    )
    return await _request_ids(db, query)


async def _waiting(db: AsyncSession, only: UUID | None) -> dict[UUID, list[str]]:
    """By agent: the ids of requests in its queue."""
    query = (
        select(QueueRow.agent_id, RequestRow.request_id)
        .join(RequestRow, RequestRow.id == QueueRow.api_request_id)
        .where(QueueRow.processed_at.is_(None), RequestRow.closed_at.is_(None), _of(QueueRow.agent_id, only))
    )
    return await _request_ids(db, query)


async def _questions(db: AsyncSession, only: UUID | None) -> dict[UUID, list[OpenQuestion]]:
    """By agent: requests that wait for a person, the oldest first."""
    query = (
        select(ApprovalRow.agent_id, RequestRow.request_id, ApprovalRow.created_at, ApprovalRow.why)
        .join(RequestRow, RequestRow.x402_request_id == ApprovalRow.x402_request_id)
        .where(
            ApprovalRow.status == ApprovalStatus.PENDING,
            ApprovalRow.expires_at > func.clock_timestamp(),
            RequestRow.closed_at.is_(None),
            _of(ApprovalRow.agent_id, only),
        )
        .order_by(ApprovalRow.created_at, ApprovalRow.id)
    )
    found: defaultdict[UUID, list[OpenQuestion]] = defaultdict(list)
    for agent_id, request_id, since, why in await db.execute(query):
        found[agent_id].append(OpenQuestion(request_id=request_id, since=since, why=why))
    return found


async def _sessions(db: AsyncSession, only: UUID | None) -> dict[str, list[SessionRecord]]:
    """By agent's name: the newest sessions of each currency, and all that are ACTIVE; the newest first."""
    newest = (
        select(SessionRow.id)
        .ext(distinct_on(SessionRow.agent_id, SessionRow.currency))
        .order_by(SessionRow.agent_id, SessionRow.currency, SessionRow.created_at.desc(), SessionRow.id.desc())
    )
    wanted = (SessionRow.status == "ACTIVE") | SessionRow.id.in_(newest)
    query = session_records().where(wanted, _of(SessionRow.agent_id, only))
    found: defaultdict[str, list[SessionRecord]] = defaultdict(list)
    for row in await db.execute(query):
        record = session_record(*row)
        found[record.agent].append(record)
    return found


async def _readings(db: AsyncSession, only: UUID | None) -> dict[UUID, list[BalanceRecord]]:
    """By agent: its newest balance reading in each currency."""
    newest = lateral(
        select(BalanceSnapshotRow)
        .where(BalanceSnapshotRow.agent_id == AgentRow.id)
        .order_by(BalanceSnapshotRow.snapshot_at.desc())
        .limit(NEWEST_READINGS)
    )
    columns = (newest.c.currency, newest.c.balance, newest.c.threshold, newest.c.status, newest.c.snapshot_at)
    query = select(AgentRow.id, *columns).join(newest, true()).where(_of(AgentRow.id, only))
    of_each: defaultdict[UUID, dict[Currency, BalanceRecord]] = defaultdict(dict)
    for agent_id, currency, balance, threshold, status, at in await db.execute(query.order_by(newest.c.snapshot_at)):
        of_each[agent_id][currency] = BalanceRecord(
            currency=currency,
            balance_atomic=atomic(balance),
            threshold_atomic=atomic(threshold),
            status=status.value,
            snapshot_at=at,
        )
    return defaultdict(list, {agent_id: list(each.values()) for agent_id, each in of_each.items()})


async def _policies(db: AsyncSession, only: UUID | None) -> dict[UUID | None, tuple[Policy, datetime]]:
    """The newest policy of each agent that has one of its own, and everyone's under None."""
    mine = true() if only is None else (PolicyRow.agent_id == only) | PolicyRow.agent_id.is_(None)
    newest = (
        select(PolicyRow)
        .where(mine)
        .ext(distinct_on(PolicyRow.agent_id))
        .order_by(PolicyRow.agent_id, PolicyRow.set_at.desc(), PolicyRow.id.desc())
    )
    return {row.agent_id: (Policy.model_validate(row.policy), row.set_at) for row in await db.scalars(newest)}


def _in_force(
    agent: AgentRow, policies: dict[UUID | None, tuple[Policy, datetime]], spent_today_atomic: int
) -> PolicyInForce:
    own = policies.get(agent.id)
    policy, set_at = own or policies.get(None) or (Policy(), None)
    return PolicyInForce(
        agent=agent.name, policy=policy, own=own is not None, set_at=set_at, spent_today_atomic=spent_today_atomic
    )


def _pause(saved: dict[str, Any] | None) -> str | None:
    """Why a person paused the agent, as it has saved it; None also for the rules of an earlier release."""
    try:
        return SavedAgent.model_validate(saved).pause if saved else None
    except ValidationError:
        return None
