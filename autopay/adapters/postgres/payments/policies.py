"""Policies, approvals and payees: what a person allows and decides."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, select, text
from sqlalchemy.dialects.postgresql import insert

from autopay.adapters.postgres.database.transaction import Database, agent_named
from autopay.adapters.postgres.payments.policy_check import policy_of, spent_today_by_host
from autopay.adapters.postgres.tables.core import AgentRow, RequestRow
from autopay.adapters.postgres.tables.policy import ApprovalRow, CounterpartyRow, PolicyRow
from autopay.domain.network import Network
from autopay.domain.policy.decision import NOBODY_ASKED, decision_refusal, wanted_by
from autopay.domain.policy.policy import Decision, Policy, Terms
from autopay.domain.policy.records import ApprovalRecord, ApprovalStatus, PayeeRecord, PolicyInForce
from autopay.domain.refusal import Refused
from autopay.uuid7 import uuid7

_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))")


class Policies:
    """What a person allows; implements the port `PolicyStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def decide(self, decision: Decision) -> Refused | None:
        """Record a person's decision, once; see the port."""
        async with self._database.transaction() as db:
            row = await db.get(ApprovalRow, decision.approval_id, with_for_update=True)
            if row is None or row.terms_hash != decision.terms_hash:
                return NOBODY_ASKED
            now = await db.scalar(select(func.clock_timestamp()))
            assert now is not None
            refused = decision_refusal(decision, row.status, row.decided_at, row.expires_at, now)
            if refused is None and row.status is not wanted_by(decision):
                row.status, row.decided_at = wanted_by(decision), now
            return refused

    async def approvals(
        self, agent: str | None = None, *, undecided: bool = True, limit: int | None = None
    ) -> Sequence[ApprovalRecord]:
        """What a person is or was asked, oldest first; only what still waits unless asked for all.

        A request that has ended, by a cancel for one, waits for nobody.
        """
        query = (
            select(ApprovalRow, AgentRow.name)
            .join(AgentRow, AgentRow.id == ApprovalRow.agent_id)
            .join(RequestRow, RequestRow.x402_request_id == ApprovalRow.x402_request_id)
            .order_by(ApprovalRow.created_at, ApprovalRow.id)
            .limit(limit)
        )
        if undecided:
            query = query.where(*_is_open())
        if agent is not None:
            query = query.where(AgentRow.name == agent)
        async with self._database.transaction() as db:
            return [approval_record(row, name) for row, name in await db.execute(query)]

    async def approvals_from(self, beginning: str, limit: int) -> Sequence[ApprovalRecord]:
        """The questions whose ids begin with these hexadecimal digits, oldest first, decided ones among them."""
        first, last = (UUID(hex=beginning.ljust(32, digit)) for digit in "0f")
        query = (
            select(ApprovalRow, AgentRow.name)
            .join(AgentRow, AgentRow.id == ApprovalRow.agent_id)
            .where(ApprovalRow.id.between(first, last))
            .order_by(ApprovalRow.id)
            .limit(limit)
        )
        async with self._database.transaction() as db:
            return [approval_record(row, name) for row, name in await db.execute(query)]

    async def open_approvals(self) -> int:
        """How many questions wait for a person."""
        query = select(func.count()).select_from(ApprovalRow)
        query = query.join(RequestRow, RequestRow.x402_request_id == ApprovalRow.x402_request_id).where(*_is_open())
        async with self._database.transaction() as db:
            return await db.scalar(query) or 0

    async def approval(self, approval_id: UUID) -> ApprovalRecord | None:
        """That question and where it stands; None when there is none."""
        query = (
            select(ApprovalRow, AgentRow.name)
            .join(AgentRow, AgentRow.id == ApprovalRow.agent_id)
            .where(ApprovalRow.id == approval_id)
        )
        async with self._database.transaction() as db:
            found = (await db.execute(query)).one_or_none()
            return None if found is None else approval_record(*found)

    async def set(self, policy: Policy, agent: str | None = None) -> None:
        """From now on this policy holds: for one agent, or for all that have none of their own.

        The newest holds, so it is newer than all before it, whatever became of the database's clock meanwhile.
        """
        async with self._database.transaction() as db:
            owner = await agent_named(db, agent) if agent is not None else None
            agent_id = owner.id if owner else None
            await db.execute(_ONE_AT_A_TIME, {"key": f"policy {agent_id}"})
            last = select(func.max(PolicyRow.set_at)).where(PolicyRow.agent_id.is_not_distinct_from(agent_id))
            after = last.scalar_subquery() + timedelta(microseconds=1)
            row = PolicyRow(
                id=uuid7(),
                agent_id=agent_id,
                policy=policy.model_dump(mode="json"),
                set_at=func.greatest(func.clock_timestamp(), after),
            )
            db.add(row)

    async def in_force(self, agent: str) -> PolicyInForce:
        """The policy that holds for an agent, and what is spent of its days' limits."""
        async with self._database.transaction() as db:
            owner = await agent_named(db, agent)
            policy, row = await policy_of(db, owner.id)
            by_host = await spent_today_by_host(db, owner.id)
            return PolicyInForce(
                agent=agent,
                policy=policy,
                own=row is not None and row.agent_id is not None,
                set_at=row.set_at if row is not None else None,
                spent_today_atomic=sum(by_host.values()),
                by_host_today_atomic=by_host,
            )

    async def held(self) -> Mapping[str, object]:
        """The policy of each agent that is not archived, as it is kept: whoever reads it sees whether it can be read.

        None where nobody has set any.
        """
        newest = (
            select(PolicyRow.policy)
            .where(or_(PolicyRow.agent_id == AgentRow.id, PolicyRow.agent_id.is_(None)))
            .order_by(PolicyRow.agent_id.is_(None), PolicyRow.set_at.desc(), PolicyRow.id.desc())
            .limit(1)
            .correlate(AgentRow)
            .scalar_subquery()
        )
        query = (
            select(AgentRow.name, newest.label("policy")).where(AgentRow.archived_at.is_(None)).order_by(AgentRow.name)
        )
        async with self._database.transaction() as db:
            return {row.name: row.policy for row in await db.execute(query)}

    async def default(self) -> tuple[Policy, datetime | None]:
        """The policy of agents that have none of their own, and when it was set: None for the built-in one."""
        async with self._database.transaction() as db:
            policy, row = await policy_of(db, UUID(int=0))
            return policy, row.set_at if row is not None else None

    async def payees(self) -> Sequence[PayeeRecord]:
        """Every payee that an origin is known by, by origin, oldest first."""
        async with self._database.transaction() as db:
            rows = await db.scalars(
                select(CounterpartyRow).order_by(CounterpartyRow.origin, CounterpartyRow.accepted_at)
            )
            return [
                PayeeRecord(
                    network=row.network,
                    origin=row.origin,
                    pay_to=row.pay_to,
                    accepted_by=row.accepted_by,
                    accepted_at=row.accepted_at,
                )
                for row in rows
            ]

    async def accept_payee(self, network: Network, origin: str, pay_to: str) -> bool:
        """A person says that this origin may be paid there too; False when it was known."""
        row = {"id": uuid7(), "network": network, "origin": origin, "pay_to": pay_to, "accepted_by": "a person"}
        async with self._database.transaction() as db:
            added = await db.execute(
                insert(CounterpartyRow).values(row).on_conflict_do_nothing().returning(CounterpartyRow.id)
            )
            return len(added.all()) > 0


def approval_record(row: ApprovalRow, agent: str) -> ApprovalRecord:
    """The approval as the domain has it."""
    return ApprovalRecord(
        approval_id=row.id,
        agent=agent,
        request_key=row.x402_request_id,
        terms=Terms.model_validate(row.terms),
        terms_hash=row.terms_hash,
        why=row.why,
        status=row.status.value,
        created_at=row.created_at,
        expires_at=row.expires_at,
        decided_at=row.decided_at,
    )


def _is_open() -> tuple[ColumnElement[bool], ...]:
    """Whether a question waits for a person; with the question's request joined."""
    asked = ApprovalRow
    is_in_time = asked.expires_at > func.clock_timestamp()
    return asked.status == ApprovalStatus.PENDING, is_in_time, RequestRow.closed_at.is_(None)
