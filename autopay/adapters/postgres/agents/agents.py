"""Agents and their balances."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import distinct_on, insert

from autopay.adapters.postgres.agents.summaries import summaries
from autopay.adapters.postgres.database.rows import agent_record, atomic
from autopay.adapters.postgres.database.transaction import Database, agent_named
from autopay.adapters.postgres.payments.policy_check import withdraw_questions
from autopay.adapters.postgres.tables.core import AgentRow, BalanceSnapshotRow
from autopay.domain.agent.records import AgentRecord, AgentSummary, BalanceRecord, BalanceStatus
from autopay.domain.agent.spec import SavedAgent
from autopay.domain.agent.steps import Withdrawn
from autopay.domain.money import Currency, to_units
from autopay.domain.phase import Phase
from autopay.uuid7 import uuid7


class Agents:
    """Implements the port `AgentStore`, and what people ask about agents."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, name: str) -> AgentRecord:
        """The agent of that name; see the port."""
        async with self._database.transaction() as db:
            return agent_record(await agent_named(db, name))

    async def create(
        self,
        name: str,
        phase: Phase = Phase.DEMO,
        wallet_address: str = "",
        priority_rules: Mapping[str, object] | None = None,
    ) -> AgentRecord:
        """The agent of that name, made when there is none; one that exists stays exactly as it is."""
        async with self._database.transaction() as db:
            await db.execute(
                insert(AgentRow)
                .values(
                    id=uuid7(),
                    name=name,
                    autonomy_phase=phase,
                    wallet_address=wallet_address,
                    priority_rules=dict(priority_rules) if priority_rules is not None else None,
                )
                .on_conflict_do_nothing(index_elements=["name"])
            )
            return agent_record(await agent_named(db, name))

    async def set_phase(self, name: str, phase: Phase) -> Sequence[Withdrawn]:
        """How much the agent may do without a person, from now on; see the port."""
        async with self._database.transaction() as db:
            row = await agent_named(db, name, lock=True)
            row.autonomy_phase = phase
            return [] if phase is Phase.INTERACTIVE else await withdraw_questions(db, row.id)

    async def set_wallet(self, name: str, wallet_address: str) -> None:
        """The owner's wallet that the agent draws from."""
        await self._change(name, wallet_address=wallet_address)

    async def save(self, saved: SavedAgent) -> None:
        """Keep what the agent is to do, in the column `priority_rules`; see the port."""
        await self._change(saved.spec.name, priority_rules=saved.model_dump(mode="json"))

    async def saved(self, name: str) -> SavedAgent | None:
        """What the agent was to do when it last said so; None if it never has, or an earlier release's rules are there.

        Raises:
            UnknownAgent: see the port.
        """
        kept = (await self.get(name)).priority_rules
        try:
            return SavedAgent.model_validate(kept) if kept else None
        except ValidationError:
            return None

    async def _change(self, name: str, **values: Any) -> None:
        async with self._database.transaction() as db:
            row = await agent_named(db, name, lock=True)
            for column, value in values.items():
                setattr(row, column, value)

    async def record_balance(
        self,
        agent: str,
        currency: Currency,
        balance_atomic: int,
        threshold_atomic: int,
        status: Literal["SUFFICIENT", "LOW", "PAUSED"],
    ) -> None:
        """One balance reading; see the port."""
        async with self._database.transaction() as db:
            row = await agent_named(db, agent)
            db.add(
                BalanceSnapshotRow(
                    id=uuid7(),
                    agent_id=row.id,
                    balance=to_units(balance_atomic),
                    currency=currency,
                    threshold=to_units(threshold_atomic),
                    status=BalanceStatus(status),
                )
            )

    async def balances(self, agent: str) -> Sequence[BalanceRecord]:
        """The newest reading of each currency."""
        async with self._database.transaction() as db:
            owner = await agent_named(db, agent)
            newest = (
                select(BalanceSnapshotRow)
                .where(BalanceSnapshotRow.agent_id == owner.id)
                .ext(distinct_on(BalanceSnapshotRow.currency))
                .order_by(
                    BalanceSnapshotRow.currency, BalanceSnapshotRow.snapshot_at.desc(), BalanceSnapshotRow.id.desc()
                )
            )
            rows = (await db.scalars(newest)).all()
        return [
            BalanceRecord(
                currency=row.currency,
                balance_atomic=atomic(row.balance),
                threshold_atomic=atomic(row.threshold),
                status=row.status.value,
                snapshot_at=row.snapshot_at,
            )
            for row in rows
        ]

    async def summaries(self) -> Sequence[AgentSummary]:
        """Every agent that is not archived, by name: what it spent, may still spend, and has waiting."""
        async with self._database.transaction(snapshot=True) as db:
            return await summaries(db)

    async def summary(self, name: str) -> AgentSummary:
        """The same of one agent.

        Raises:
            UnknownAgent: there is none of that name.
        """
        owner = await self.get(name)
        async with self._database.transaction(snapshot=True) as db:
            [found] = await summaries(db, owner.agent_id)
            return found
