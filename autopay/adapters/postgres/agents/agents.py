"""Agents and their balances."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.orm import defer

from autopay.adapters.postgres.rows import agent_record, atomic, request_result
from autopay.adapters.postgres.tables.core import AgentRow, BalanceSnapshotRow, QueueRow, RequestRow
from autopay.adapters.postgres.tables.policy import ApprovalRow
from autopay.adapters.postgres.transaction import Transactional, agent_named
from autopay.adapters.postgres.uuid7 import uuid7
from autopay.domain.agent.records import AgentRecord, BalanceRecord, BalanceStatus
from autopay.domain.agent.steps import Backlog, QueuedRequest
from autopay.domain.money import Currency, to_units
from autopay.domain.phase import Phase
from autopay.domain.policy.records import ApprovalStatus
from autopay.domain.request import HttpMethod, RequestResult


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

    async def backlog(self, agent: str) -> Backlog:
        """What waits, what is under way, and which of that waits for a person; see the port."""
        async with self._transaction() as db:
            owner = await agent_named(db, agent)
            rows = await db.execute(
                select(RequestRow, QueueRow.priority_score, QueueRow.queued_at, QueueRow.processed_at)
                .join(QueueRow, QueueRow.api_request_id == RequestRow.id)
                .where(
                    RequestRow.agent_id == owner.id, RequestRow.closed_at.is_(None), RequestRow.request_id.is_not(None)
                )
                .order_by(QueueRow.queued_at, QueueRow.id)
                .options(defer(RequestRow.sealed_extras))
            )
            waiting: list[QueuedRequest] = []
            begun: list[QueuedRequest] = []
            for row, score, queued_at, processed_at in rows:
                values = {"queued_at": queued_at, "score": float(score)}
                (waiting if processed_at is None else begun).append(_queued(row, values))
            asked = await db.execute(
                select(RequestRow.request_id, ApprovalRow.created_at)
                .join(ApprovalRow, ApprovalRow.x402_request_id == RequestRow.x402_request_id)
                .where(
                    RequestRow.agent_id == owner.id,
                    RequestRow.closed_at.is_(None),
                    ApprovalRow.status == ApprovalStatus.PENDING,
                )
            )
            since = {request_id: at for request_id, at in asked if request_id is not None}
        return Backlog(queue=tuple(waiting), open=tuple(begun), asked=since)

    async def ended_among(
        self, agent: str, request_ids: Sequence[str]
    ) -> tuple[Sequence[RequestResult], Sequence[str]]:
        """How those of the requests ended that have, and which of them nobody knows; see the port."""
        async with self._transaction() as db:
            owner = await agent_named(db, agent)
            mine = RequestRow.agent_id == owner.id
            rows = select(RequestRow).where(mine, RequestRow.request_id.in_(request_ids))
            found = (await db.scalars(rows.options(defer(RequestRow.sealed_extras)))).all()
        known = {row.request_id for row in found}
        ended = [request_result(row, agent, []) for row in found if row.closed_at is not None]
        return ended, [each for each in request_ids if each not in known]

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


def _queued(row: RequestRow, values: dict[str, Any]) -> QueuedRequest:
    price = None if row.max_price is None else atomic(row.max_price)
    same = {"request_id": row.request_id, "url": row.url, "watch": row.watch, "body_hash": row.body_hash}
    more = {"method": HttpMethod(row.method).value, "max_price_atomic": price, "currency": row.currency_preference}
    return QueuedRequest.model_validate(same | more | values)
