"""What the ledger says of the moment, as gauges: open and undelivered payments, queues, caps, sessions, the proof.

Read every few seconds for as long as a worker runs: each query reads an index, and what it finds is as much as is open,
owed, or of today; none adds up what was ever paid.
"""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Date, Integer, and_, cast, func, lateral, select, true
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession

from autopay.adapters.postgres.database.rows import atomic
from autopay.adapters.postgres.database.transaction import Database
from autopay.adapters.postgres.sessions.scope import sql_is_granted
from autopay.adapters.postgres.tables.access import ActionRow
from autopay.adapters.postgres.tables.audit import AuditAnchorRow
from autopay.adapters.postgres.tables.core import (
    OPEN_PAYMENTS,
    AgentRow,
    BalanceSnapshotRow,
    QueueRow,
    RequestRow,
    SessionRow,
    TransactionRow,
)
from autopay.adapters.postgres.tables.fence import FenceRow
from autopay.adapters.postgres.tables.policy import ApprovalRow, PolicyRow
from autopay.adapters.postgres.tables.usage import DayUsageRow, SessionUsageRow
from autopay.adapters.postgres.tables.webhooks import WebhookDeliveryRow, WebhookEndpointRow
from autopay.domain.agent.records import BalanceStatus
from autopay.domain.audit.anchor import AnchorState
from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.payment.status import Delivery, TransactionStatus
from autopay.domain.policy.records import ApprovalStatus
from autopay.domain.session import SessionStatus
from autopay.domain.upkeep import ACTOR, Duty
from autopay.domain.webhooks.records import WebhookStatus
from autopay.metrics import table
from autopay.metrics.gauges import Reading
from autopay.metrics.sources import LiveSession

NOW = func.clock_timestamp()
NEWEST_READINGS = 2 * len(Currency)
"""An agent's readings of balances come one a currency at a time: among so many is the newest of each."""

SELLERS_OF_DAYS = 7

LOOK_BACK = timedelta(days=35)
"""How far back the last run of a duty is looked for."""

_TODAY = cast(func.timezone("UTC", NOW), Date)


class Gauges:
    """Reads; the role that only reads is enough."""

    def __init__(self, database: Database, network: Network) -> None:
        self._database = database
        self._network = network

    async def read(self) -> Sequence[Reading]:
        """All gauges of the ledger, as of one moment.

        Raises:
            LedgerUnavailable: it does not answer.
        """
        async with self._database.transaction(snapshot=True) as db:
            agents = {row[0]: _Agent(*row[1:]) for row in await db.execute(_AGENTS)}
            found = [Reading(table.AGENTS, len(agents))]
            for part in (_payments, _undelivered, _queues, _approvals, _day, _sessions, _balances):
                found += await part(db, agents)
            found += await _proof(db, self._network)
            found += await _upkeep(db)
            found += await _webhooks(db)
        return found

    async def sellers(self, most: int) -> Sequence[str]:
        """Sellers (host and port) that were paid in the last days, most payments first."""
        recent = select(DayUsageRow.host).where(
            DayUsageRow.agent_id.in_(select(AgentRow.id).where(AgentRow.archived_at.is_(None))),
            DayUsageRow.day > _TODAY - SELLERS_OF_DAYS,
            DayUsageRow.host != "",
        )
        query = recent.group_by(DayUsageRow.host).order_by(func.sum(DayUsageRow.payments).desc(), DayUsageRow.host)
        async with self._database.transaction() as db:
            return (await db.scalars(query.limit(most))).all()

    async def live_sessions(self, most: int) -> Sequence[LiveSession]:
        """Sessions that can pay, the newest of each agent and currency first; what their payments come to now."""
        newest, used = _newest_sessions().subquery(), SessionUsageRow
        still_open = (
            select(func.coalesce(func.sum(TransactionRow.amount), 0))
            .where(TransactionRow.session_id == newest.c.id, OPEN_PAYMENTS)
            .scalar_subquery()
        )
        query = (
            select(newest, AgentRow.name, func.coalesce(used.spent, 0), still_open)
            .join(AgentRow, AgentRow.id == newest.c.agent_id)
            .outerjoin(used, used.session_id == newest.c.id)
            .where(newest.c.left > 0, newest.c.status == SessionStatus.ACTIVE, newest.c.source_account.is_not(None))
            .order_by(newest.c.expires_at.desc())
            .limit(most)
        )
        async with self._database.transaction() as db:
            return [
                LiveSession(
                    session_id=row.id,
                    agent=row.name,
                    currency=row.currency.value,
                    source_account=row.source_account,
                    authority=row.public_key,
                    allowance_atomic=atomic(row.allowance or Decimal(0)),
                    settled_atomic=atomic(row[-2]) - atomic(row[-1]),
                    reserved_atomic=atomic(row[-2]),
                )
                for row in await db.execute(query)
            ]


class _Agent(NamedTuple):
    """An agent's name, and whether a person has paused it."""

    name: str
    is_paused: bool


Agents = dict[UUID, _Agent]

_AGENTS = (
    select(AgentRow.id, AgentRow.name, func.coalesce(AgentRow.priority_rules["pause"].astext, "") != "")
    .where(AgentRow.archived_at.is_(None))
    .order_by(AgentRow.name)
)


def _age(since: Any) -> ColumnElement[Any]:
    """Seconds since then, at least 0."""
    return func.greatest(func.extract("epoch", NOW - since), 0)


async def _payments(db: AsyncSession, agents: Agents) -> list[Reading]:
    paid = TransactionRow
    query = (
        select(paid.agent_id, paid.currency, func.count(), func.sum(paid.amount), _age(func.min(paid.created_at)))
        .where(OPEN_PAYMENTS)
        .group_by(paid.agent_id, paid.currency)
    )
    found = _none_of((table.OPEN_PAYMENTS, table.OLDEST_OPEN), agents)
    for agent_id, currency, count, amount, age in await db.execute(query):
        agent = _name(agents, agent_id)
        found += [
            Reading(table.OPEN_PAYMENTS, count, {"agent": agent}),
            Reading(table.OPEN_ATOMIC, atomic(amount), {"agent": agent, "currency": currency.value}),
            Reading(table.OLDEST_OPEN, float(age), {"agent": agent}),
        ]
    return found


async def _undelivered(db: AsyncSession, agents: Agents) -> list[Reading]:
    counts = select(RequestRow.agent_id, func.count()).group_by(RequestRow.agent_id)
    is_paid = and_(
        TransactionRow.x402_request_id == RequestRow.x402_request_id,
        TransactionRow.status == TransactionStatus.VERIFIED,
    )
    queries = {
        "asking": counts.join(TransactionRow, is_paid).where(
            RequestRow.closed_at.is_(None), RequestRow.delivery != Delivery.DELIVERED
        ),
        "ended": counts.where(RequestRow.delivery == Delivery.UNDELIVERED, RequestRow.closed_at.is_not(None)),
    }
    found: list[Reading] = []
    for state, query in queries.items():
        found += [Reading(table.UNDELIVERED, 0, {"agent": agent.name, "state": state}) for agent in agents.values()]
        for agent_id, count in await db.execute(query):
            found.append(Reading(table.UNDELIVERED, count, {"agent": _name(agents, agent_id), "state": state}))
    return found


async def _queues(db: AsyncSession, agents: Agents) -> list[Reading]:
    query = (
        select(QueueRow.agent_id, func.count(), _age(func.min(QueueRow.queued_at)))
        .where(QueueRow.processed_at.is_(None), QueueRow.agent_id.in_(agents))
        .group_by(QueueRow.agent_id)
    )
    return _waiting((table.QUEUED, table.OLDEST_QUEUED), agents, (await db.execute(query)).all())


async def _approvals(db: AsyncSession, agents: Agents) -> list[Reading]:
    query = (
        select(ApprovalRow.agent_id, func.count(), _age(func.min(ApprovalRow.created_at)))
        .join(RequestRow, RequestRow.x402_request_id == ApprovalRow.x402_request_id)
        .where(
            ApprovalRow.status == ApprovalStatus.PENDING, ApprovalRow.expires_at > NOW, RequestRow.closed_at.is_(None)
        )
        .group_by(ApprovalRow.agent_id)
    )
    return _waiting((table.ASKED, table.OLDEST_ASKED), agents, (await db.execute(query)).all())


def _waiting(metrics: tuple[table.Metric, table.Metric], agents: Agents, rows: Sequence[Any]) -> list[Reading]:
    """How many wait, and for how long the first has."""
    found = _none_of(metrics, agents)
    for agent_id, count, age in rows:
        labels = {"agent": _name(agents, agent_id)}
        found += [Reading(metrics[0], count, labels), Reading(metrics[1], float(age), labels)]
    return found


async def _day(db: AsyncSession, agents: Agents) -> list[Reading]:
    spent = (
        select(DayUsageRow.agent_id, func.sum(DayUsageRow.spent))
        .where(DayUsageRow.agent_id.in_(agents), DayUsageRow.day == _TODAY)
        .group_by(DayUsageRow.agent_id)
    )
    cap = cast(PolicyRow.policy["per_agent_day_atomic"].astext, Integer)
    newest = (
        select(PolicyRow.agent_id, cap)
        .ext(distinct_on(PolicyRow.agent_id))
        .order_by(PolicyRow.agent_id, PolicyRow.set_at.desc(), PolicyRow.id.desc())
    )
    caps: dict[UUID | None, int | None] = {row[0]: row[1] for row in await db.execute(newest)}
    found = _none_of((table.DAY_SPENT,), agents)
    for agent_id, amount in await db.execute(spent):
        found.append(Reading(table.DAY_SPENT, atomic(amount), {"agent": _name(agents, agent_id)}))
    for agent_id, agent in agents.items():
        limit = caps[agent_id] if agent_id in caps else caps.get(None)
        if limit is not None:
            found.append(Reading(table.DAY_CAP, limit, {"agent": agent.name}))
    return found


def _newest_sessions() -> Any:
    """The newest granted session of each agent and currency, with its seconds until it ends."""
    left = func.greatest(func.extract("epoch", SessionRow.expires_at - NOW), 0).label("left")
    columns = (
        SessionRow.id,
        SessionRow.agent_id,
        SessionRow.currency,
        SessionRow.status,
        SessionRow.public_key,
        SessionRow.source_account,
        SessionRow.allowance,
        SessionRow.expires_at,
        cast(SessionRow.scope["txLimit"].astext, Integer).label("tx_limit"),
        left,
    )
    return (
        select(*columns)
        .where(SessionRow.public_key.is_not(None), SessionRow.currency.is_not(None), sql_is_granted())
        .ext(distinct_on(SessionRow.agent_id, SessionRow.currency))
        .order_by(SessionRow.agent_id, SessionRow.currency, SessionRow.created_at.desc(), SessionRow.id.desc())
    )


async def _sessions(db: AsyncSession, agents: Agents) -> list[Reading]:
    newest = _newest_sessions().subquery()
    used = SessionUsageRow
    query = select(newest, func.coalesce(used.payments, 0), func.coalesce(used.spent, 0)).outerjoin(
        used, used.session_id == newest.c.id
    )
    found: list[Reading] = []
    can_pay: set[UUID] = set()
    for row in await db.execute(query.where(newest.c.agent_id.in_(agents))):
        payments, spent = row[-2:]
        seconds = float(row.left) if row.status is SessionStatus.ACTIVE else 0.0
        payments_left = max(0, row.tx_limit - payments)
        if seconds > 0 and payments_left > 0:
            can_pay.add(row.agent_id)
        labels = {"agent": agents[row.agent_id].name, "currency": row.currency.value}
        values = {
            table.SESSION_LEFT: seconds,
            table.SESSION_PAYMENTS_LEFT: payments_left,
            table.SESSION_CAP: atomic(row.allowance or Decimal(0)),
            table.SESSION_SPENT: atomic(spent),
        }
        found += [Reading(metric, value, labels) for metric, value in values.items()]
    return found + [
        Reading(table.PAUSED, agent_id not in can_pay, {"agent": agent.name, "reason": "session"})
        for agent_id, agent in agents.items()
    ]


async def _balances(db: AsyncSession, agents: Agents) -> list[Reading]:
    """The newest readings, and who is paused for want of money, or by a person."""
    newest = lateral(
        select(BalanceSnapshotRow)
        .where(BalanceSnapshotRow.agent_id == AgentRow.id)
        .order_by(BalanceSnapshotRow.snapshot_at.desc())
        .limit(NEWEST_READINGS)
    )
    columns = (newest.c.currency, newest.c.balance, newest.c.threshold, newest.c.status)
    query = select(AgentRow.id, *columns).join(newest, true()).where(AgentRow.id.in_(agents))
    read: dict[tuple[UUID, Currency], Any] = {}
    for row in await db.execute(query.order_by(newest.c.snapshot_at)):
        read[row.id, row.currency] = row
    found: list[Reading] = []
    short: dict[UUID, bool] = {}
    for (agent_id, currency), row in read.items():
        labels = {"agent": agents[agent_id].name, "currency": currency.value}
        found += [
            Reading(table.BALANCE, atomic(row.balance), labels),
            Reading(table.BALANCE_NEEDED, atomic(row.threshold), labels),
        ]
        short[agent_id] = short.get(agent_id, True) and row.status is BalanceStatus.PAUSED
    for agent_id, agent in agents.items():
        for reason, is_so in (("money", short.get(agent_id, False)), ("person", agent.is_paused)):
            found.append(Reading(table.PAUSED, is_so, {"agent": agent.name, "reason": reason}))
    return found


async def _proof(db: AsyncSession, network: Network) -> list[Reading]:
    """The fence, and the anchors of this network."""
    fences = await db.scalar(select(func.count()).where(FenceRow.lifted_at.is_(None)))
    found = [Reading(table.FENCE, fences or 0)]
    anchor = select(_age(AuditAnchorRow.created_at)).order_by(AuditAnchorRow.id.desc()).limit(1)
    of_state = {
        state: await db.scalar(anchor.where(AuditAnchorRow.network == network, AuditAnchorRow.status == state))
        for state in (AnchorState.FINALIZED, AnchorState.PENDING)
    }
    found.append(Reading(table.UNANCHORED, float(of_state[AnchorState.PENDING] or 0)))
    if (age := of_state[AnchorState.FINALIZED]) is not None:
        found.append(Reading(table.ANCHOR_AGE, float(age)))
    return found


async def _upkeep(db: AsyncSession) -> list[Reading]:
    """The last runs that a schedule made; those of persons are not counted on."""
    done = ActionRow
    query = (
        select(done.action, _age(done.ended_at), done.outcome)
        .where(done.via == ACTOR, done.action.in_(list(Duty)), done.created_at > NOW - LOOK_BACK)
        .where(done.ended_at.is_not(None))
        .ext(distinct_on(done.action))
        .order_by(done.action, done.created_at.desc(), done.id.desc())
    )
    found: list[Reading] = []
    for duty, age, outcome in await db.execute(query):
        found += [
            Reading(table.UPKEEP_AGE, float(age), {"duty": duty}),
            Reading(table.UPKEEP_FAILED, outcome != "done", {"duty": duty}),
        ]
    return found


async def _webhooks(db: AsyncSession) -> list[Reading]:
    waiting = select(func.count()).where(WebhookDeliveryRow.status == WebhookStatus.RETRYING)
    disabled = select(func.count()).where(
        WebhookEndpointRow.disabled_at.is_not(None), WebhookEndpointRow.removed_at.is_(None)
    )
    return [
        Reading(table.WEBHOOKS_WAITING, await db.scalar(waiting) or 0),
        Reading(table.WEBHOOKS_DISABLED, await db.scalar(disabled) or 0),
    ]


def _none_of(metrics: Sequence[table.Metric], agents: Agents) -> list[Reading]:
    """0 for every agent: what the query finds is added to it."""
    return [Reading(metric, 0, {"agent": agent.name}) for metric in metrics for agent in agents.values()]


def _name(agents: Agents, agent_id: UUID) -> str:
    """An archived agent may still have open or undelivered payments: of all such, one value."""
    agent = agents.get(agent_id)
    return "archived" if agent is None else agent.name
