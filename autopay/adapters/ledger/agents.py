"""Agents and their balances."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import distinct_on, insert

from autopay.adapters.ledger.records import AgentSummary, BalanceRecord
from autopay.adapters.ledger.rows import agent_record, atomic
from autopay.adapters.ledger.transaction import Transactional, agent_named
from autopay.adapters.statuses import OPEN, SPENT, BalanceStatus
from autopay.adapters.tables import AgentRow, BalanceSnapshotRow, TransactionRow
from autopay.adapters.uuid7 import uuid7
from autopay.domain.agent import Phase
from autopay.domain.money import Currency, to_units
from autopay.domain.ports import AgentRecord


class Agents(Transactional):
    """Who pays."""

    async def agent(self, name: str) -> AgentRecord:
        """The agent of that name; see the port."""
        async with self._transaction() as db:
            return agent_record(await agent_named(db, name))

    async def create_agent(
        self,
        name: str,
        phase: Phase = Phase.DEMO,
        wallet_address: str = "",
        priority_rules: Mapping[str, object] | None = None,
    ) -> AgentRecord:
        """The agent of that name, made when there is none; one that exists stays exactly as it is."""
        async with self._transaction() as db:
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

    async def set_phase(self, name: str, phase: Phase) -> None:
        """How much the agent may do without a person, from now on."""
        await self._change(name, autonomy_phase=phase)

    async def set_wallet(self, name: str, wallet_address: str) -> None:
        """The owner's wallet that the agent draws from."""
        await self._change(name, wallet_address=wallet_address)

    async def set_rules(self, name: str, priority_rules: Mapping[str, object] | None) -> None:
        """The agent's rules, as JSON."""
        await self._change(name, priority_rules=dict(priority_rules) if priority_rules is not None else None)

    async def _change(self, name: str, **values: Any) -> None:
        async with self._transaction() as db:
            row = await agent_named(db, name, lock=True)
            for column, value in values.items():
                setattr(row, column, value)

    async def agents(self) -> Sequence[AgentSummary]:
        """Every agent that is not archived, by name, with what it spent."""
        spent = TransactionRow.status.in_(SPENT)
        totals = (
            select(
                TransactionRow.agent_id,
                TransactionRow.currency,
                func.coalesce(func.sum(TransactionRow.amount).filter(spent), 0),
                func.count().filter(spent),
                func.count().filter(TransactionRow.status.in_(OPEN)),
            )
            .group_by(TransactionRow.agent_id, TransactionRow.currency)
            .order_by(TransactionRow.currency)
        )
        async with self._transaction() as db:
            rows = (
                await db.scalars(select(AgentRow).where(AgentRow.archived_at.is_(None)).order_by(AgentRow.name))
            ).all()
            sums = (await db.execute(totals)).all()
        return [
            AgentSummary(
                agent=agent_record(row),
                spent_atomic={total[1]: atomic(total[2]) for total in sums if total[0] == row.id and total[3]},
                payments=sum(total[3] for total in sums if total[0] == row.id),
                open_payments=sum(total[4] for total in sums if total[0] == row.id),
            )
            for row in rows
        ]

    async def record_balance(
        self,
        agent: str,
        currency: Currency,
        balance_atomic: int,
        threshold_atomic: int,
        status: Literal["SUFFICIENT", "LOW", "PAUSED"],
    ) -> None:
        """One balance reading; see the port."""
        async with self._transaction() as db:
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
        async with self._transaction() as db:
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
