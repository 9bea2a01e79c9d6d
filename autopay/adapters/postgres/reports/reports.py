"""What people and reports ask the ledger: what was spent, the timeline, disputes, and what has not ended."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, or_, select, text

from autopay.adapters.postgres.audit.reconcile import Audits
from autopay.adapters.postgres.maintenance.migrations import head
from autopay.adapters.postgres.maintenance.prune import Retention
from autopay.adapters.postgres.reports.follow import Follow
from autopay.adapters.postgres.reports.readers import Readers
from autopay.adapters.postgres.rows import atomic
from autopay.adapters.postgres.tables.core import AgentRow, QueueRow, RequestRow, TransactionRow
from autopay.adapters.postgres.transaction import agent_named
from autopay.domain.errors import NotMigrated
from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.payment.adoption import Unfinished
from autopay.domain.payment.status import OPEN, SPENT, Delivery
from autopay.domain.payment.steps import PaymentOrder
from autopay.domain.report.filter import Filter
from autopay.domain.report.rows import DisputeRow, TimelineRow


class Reports(Audits, Readers, Follow, Retention):
    """Reading, and throwing away what is old."""

    async def spent(self, agent: str | None = None, network: Network | None = None) -> dict[Currency, int]:
        """Base units that were paid (SUCCESS and VERIFIED), by currency."""
        query = (
            select(TransactionRow.currency, func.sum(TransactionRow.amount))
            .where(TransactionRow.status.in_(SPENT))
            .group_by(TransactionRow.currency)
        )
        if network is not None:
            query = query.where(TransactionRow.network == network)
        async with self._transaction() as db:
            if agent is not None:
                query = query.where(TransactionRow.agent_id == (await agent_named(db, agent)).id)
            return {currency: atomic(total) for currency, total in await db.execute(query)}

    async def timeline(self, agent: str | None = None, limit: int = 50) -> Sequence[TimelineRow]:
        """Payments with the requests that they were for, newest first."""
        return (await self.payments(Filter(agent=agent), limit=limit)).rows

    async def disputes(self, agent: str | None = None) -> Sequence[DisputeRow]:
        """Requests that were paid and not delivered, newest first."""
        query = (
            select(RequestRow, TransactionRow, AgentRow.name)
            .join(AgentRow, AgentRow.id == RequestRow.agent_id)
            .join(TransactionRow, TransactionRow.x402_request_id == RequestRow.x402_request_id)
            .where(RequestRow.delivery == Delivery.UNDELIVERED, TransactionRow.status.in_(SPENT))
            .order_by(RequestRow.closed_at.desc(), RequestRow.id.desc())
        )
        async with self._transaction() as db:
            if agent is not None:
                query = query.where(RequestRow.agent_id == (await agent_named(db, agent)).id)
            return [_dispute_row(request, paid, name) for request, paid, name in await db.execute(query)]

    async def unfinished(self, *, older_than_s: float, after: UUID | None, limit: int) -> Sequence[Unfinished]:
        """Requests of all agents that were begun and have not ended, by their row's id; see the port `OpenBook`."""
        before = func.now() - timedelta(seconds=older_than_s)
        begun = select(QueueRow.id).where(QueueRow.api_request_id == RequestRow.id, QueueRow.processed_at < before)
        signed = select(TransactionRow.id).where(
            TransactionRow.x402_request_id == RequestRow.x402_request_id,
            TransactionRow.status.in_(OPEN),
            TransactionRow.attempt_number.is_not(None),
            TransactionRow.created_at < before,
        )
        query = (
            select(RequestRow, AgentRow.name)
            .join(AgentRow, AgentRow.id == RequestRow.agent_id)
            .where(RequestRow.closed_at.is_(None), RequestRow.request_id.is_not(None), RequestRow.url.is_not(None))
            .where(or_(begun.exists(), signed.exists()))
            .order_by(RequestRow.id)
            .limit(limit)
        )
        if after is not None:
            query = query.where(RequestRow.id > after)
        async with self._transaction() as db:
            return [_unfinished(row, name) for row, name in await db.execute(query)]

    async def check_schema(self) -> None:
        """See that the database is at this version's schema.

        Raises:
            NotMigrated: it is not, or never was migrated.
        """
        now, newest = await self.schema_revision(), head()
        if now != newest:
            raise NotMigrated(f"it is at {now or 'no revision'}, this version needs {newest}")

    async def schema_revision(self) -> str | None:
        """The revision that the database is at; None when it was never migrated."""
        async with self._transaction() as db:
            if await db.scalar(text("SELECT to_regclass('alembic_version')")) is None:
                return None
            revision: str | None = await db.scalar(text("SELECT version_num FROM alembic_version"))
            return revision


def _dispute_row(request: RequestRow, paid: TransactionRow, agent: str) -> DisputeRow:
    return DisputeRow(
        request_id=request.request_id,
        agent=agent,
        url=request.url,
        method=request.method.value,
        amount_atomic=atomic(paid.amount),
        currency=paid.currency,
        pay_to=paid.pay_to,
        transaction=paid.hash,
        when=request.closed_at,
        http_status=request.response_status if paid.last_answer is not None else None,
        sends=paid.sends,
    )


def _unfinished(row: RequestRow, agent: str) -> Unfinished:
    order = {
        "agent": agent,
        "request_id": row.request_id,
        "request_key": row.x402_request_id,
        "url": row.url,
        "method": row.method.value,
    }
    return Unfinished(row_id=row.id, order=PaymentOrder.model_validate(order))
