"""What people and reports ask the ledger: what was spent, and the timeline."""

from collections.abc import Sequence

from sqlalchemy import func, select, text

from autopay.adapters.ledger.records import TimelineRow
from autopay.adapters.ledger.rows import atomic
from autopay.adapters.ledger.transaction import Transactional, agent_named
from autopay.adapters.migrations import head
from autopay.adapters.statuses import SPENT
from autopay.adapters.tables import AgentRow, RequestRow, TransactionRow
from autopay.domain.errors import NotMigrated
from autopay.domain.money import Currency
from autopay.domain.network import Network


class Reports(Transactional):
    """Reading only."""

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
        query = (
            select(TransactionRow, RequestRow, AgentRow.name)
            .join(AgentRow, AgentRow.id == TransactionRow.agent_id)
            .outerjoin(RequestRow, RequestRow.x402_request_id == TransactionRow.x402_request_id)
            .order_by(TransactionRow.created_at.desc(), TransactionRow.id.desc())
            .limit(limit)
        )
        async with self._transaction() as db:
            if agent is not None:
                query = query.where(TransactionRow.agent_id == (await agent_named(db, agent)).id)
            return [_timeline_row(row, request, name) for row, request, name in await db.execute(query)]

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


def _timeline_row(row: TransactionRow, request: RequestRow | None, agent: str) -> TimelineRow:
    return TimelineRow(
        attempt_id=row.id,
        created_at=row.created_at,
        agent=agent,
        request_id=request.request_id if request else None,
        request_key=row.x402_request_id,
        url=request.url if request else None,
        endpoint=request.endpoint if request else None,
        number=row.attempt_number,
        sends=row.sends,
        status=row.status.value,
        delivery=request.delivery.value if request else None,
        amount_atomic=atomic(row.amount),
        currency=row.currency,
        network=row.network,
        pay_to=row.pay_to,
        hash=row.hash,
        error_type=row.error_type.value if row.error_type else None,
        error_code=row.error_code,
        verification_hash=row.verification_hash,
    )
