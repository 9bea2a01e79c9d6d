"""The ledger as the check of its proof reads it: one snapshot of events, heads, rows and anchors. Reading only."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Select,
    Uuid,
    any_,
    func,
    literal,
    literal_column,
    select,
    text,
    tuple_,
)
from sqlalchemy.ext.asyncio import AsyncSession

from autopay.adapters.postgres.audit.counters import wrong_counters
from autopay.adapters.postgres.tables.access import ActionRow, TokenRow
from autopay.adapters.postgres.tables.audit import AuditAnchorRow, AuditEventRow, AuditHeadRow
from autopay.adapters.postgres.tables.core import AgentRow, RequestRow, SessionRow, TransactionRow
from autopay.adapters.postgres.tables.fence import FenceRow
from autopay.adapters.postgres.tables.policy import ApprovalRow, CounterpartyRow, PolicyRow
from autopay.adapters.postgres.tables.webhooks import WebhookEndpointRow
from autopay.domain.audit.anchor import Anchor
from autopay.domain.audit.events import Event, Head
from autopay.domain.audit.ledger_check import WrongCounter

_TABLES: dict[str, Any] = {
    row.__tablename__: row
    for row in (
        *(AgentRow, SessionRow, PolicyRow, CounterpartyRow, FenceRow, RequestRow, TransactionRow, ApprovalRow),
        *(ActionRow, TokenRow, WebhookEndpointRow),
    )
}


_PROOF = ("audit_events", "audit_heads", "audit_anchors")


_GUARDED = {
    "guard_transactions": "transactions",
    "guard_requests": "api_request_logs",
    "guard_content": "api_request_logs",
    "guard_sessions": "sessions",
    "guard_agents": "agents",
    "guard_approvals": "approvals",
    "guard_anchors": "audit_anchors",
    "guard_tokens": "api_tokens",
    "guard_actions": "operator_actions",
    "guard_webhooks": "webhook_endpoints",
    "usage_created": "transactions",
    "usage_failed": "transactions",
}


_FOREVER = ("transactions", "api_request_logs", "operator_actions", "api_tokens", "webhook_endpoints")
"""Tables whose rows are never deleted."""


_COUNTERS = ("session_usage", "day_usage")
"""Tables that only payments move."""


TRIGGERS = frozenset(
    [(name, table) for table in _TABLES for name in ("audit_created", "audit_changed")]
    + [("audit_deleted", table) for table in _TABLES if table not in _FOREVER]
    + [("append_only", table) for table in (*_TABLES, *_PROOF, *_COUNTERS)]
    + [("by_triggers_only", table) for table in ("audit_events", "audit_heads")]
    + [("by_payments_only", table) for table in _COUNTERS]
    + list(_GUARDED.items())
)
"""Name and table of what must be in force; `audit_note` is missing here, as it only orders locks."""


_EVENT = [getattr(AuditEventRow, name) for name in Event.model_fields]


_ENABLED = text(
    "SELECT tgname, relname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid "
    "WHERE tgenabled IN ('O', 'A') AND pg_table_is_visible(pg_class.oid)"
)


class AuditSnapshot:
    """Implements the port `LedgerSnapshot`."""

    def __init__(self, db: AsyncSession, agent_id: UUID | None) -> None:
        self.db = db
        self.agent_id = agent_id

    async def missing_triggers(self) -> Sequence[str]:
        """Names of triggers that are not in force."""
        there = {(row[0], row[1]) for row in await self.db.execute(_ENABLED)}
        return [f"{name} of {table}" for name, table in sorted(TRIGGERS - there)]

    async def wrong_counters(self) -> Sequence[WrongCounter]:
        """Counters of sessions and days that are not the sum of their payments; see the port."""
        return await wrong_counters(self.db, self.agent_id)

    async def heads(self) -> Sequence[Head]:
        """The heads of all chains, or of the agent's."""
        query = select(AuditHeadRow).order_by(AuditHeadRow.agent_id)
        if self.agent_id is not None:
            query = query.where(AuditHeadRow.agent_id == self.agent_id)
        return [_head(row) for row in await self.db.scalars(query)]

    async def events(self, after: tuple[UUID, int] | None, limit: int) -> Sequence[Event]:
        """The next events, chain by chain; see the port."""
        place = tuple_(AuditEventRow.agent_id, AuditEventRow.seq)
        query = select(*_EVENT).order_by(AuditEventRow.agent_id, AuditEventRow.seq).limit(limit)
        if self.agent_id is not None:
            query = query.where(AuditEventRow.agent_id == self.agent_id)
        if after is not None:
            query = query.where(place > tuple_(*after))
        return await self._events(query)

    async def rows(self, table: str, after: UUID | None, limit: int) -> Sequence[tuple[UUID, str]]:
        """The next rows, as the triggers record them; see the port."""
        model = _TABLES[table]
        state: ColumnElement[str] = literal_column(f"audit_state({table})::text")
        query = select(model.id, state).select_from(model).order_by(model.id).limit(limit)
        if after is not None:
            query = query.where(model.id > after)
        if self.agent_id is not None:
            query = query.where(self._of_agent(model))
        return [(row[0], row[1]) for row in await self.db.execute(query)]

    def _of_agent(self, model: Any) -> ColumnElement[bool]:
        owner: ColumnElement[bool] = (model.id if model is AgentRow else model.agent_id) == self.agent_id
        return owner

    async def events_of(self, table: str, row_ids: Sequence[UUID]) -> Sequence[Event]:
        """Every event about these rows; see the port."""
        of_table = AuditEventRow.kind.startswith(f"{table}.", autoescape=True)
        return await self._events(
            select(*_EVENT)
            .where(_among(AuditEventRow.row_id, row_ids), of_table)
            .order_by(AuditEventRow.row_id, AuditEventRow.seq)
        )

    async def existing(self, table: str, row_ids: Sequence[UUID]) -> frozenset[UUID]:
        """Which of these rows there are."""
        model = _TABLES[table]
        return frozenset(await self.db.scalars(select(model.id).where(_among(model.id, row_ids))))

    async def with_other_content(self, row_ids: Sequence[UUID]) -> Sequence[UUID]:
        """Requests whose stored body has not the recorded hash; the database computes it."""
        digest = func.encode(func.sha256(RequestRow.body), "hex")
        query = select(RequestRow.id).where(
            _among(RequestRow.id, row_ids), RequestRow.body.is_not(None), digest != RequestRow.body_sha256
        )
        return (await self.db.scalars(query)).all()

    async def anchors(self, after: UUID | None, limit: int) -> Sequence[Anchor]:
        """The next anchors, oldest first."""
        query = select(AuditAnchorRow).order_by(AuditAnchorRow.id).limit(limit)
        if after is not None:
            query = query.where(AuditAnchorRow.id > after)
        return [anchor_of(row) for row in await self.db.scalars(query)]

    async def hashes_at(self, places: Sequence[Head]) -> Mapping[tuple[UUID, int], bytes]:
        """The hashes of those events that there are."""
        wanted = tuple_(AuditEventRow.agent_id, AuditEventRow.seq).in_([(each.agent_id, each.seq) for each in places])
        query = select(AuditEventRow.agent_id, AuditEventRow.seq, AuditEventRow.hash).where(wanted)
        return {(row[0], row[1]): row[2] for row in await self.db.execute(query)}

    async def names(self) -> Mapping[UUID, str]:
        """The agents' names."""
        return {row[0]: row[1] for row in await self.db.execute(select(AgentRow.id, AgentRow.name))}

    async def _events(self, query: Select[*tuple[Any, ...]]) -> Sequence[Event]:
        # Columns, not entities, and not validated again: a check reads millions.
        return [Event.model_construct(**row) for row in (await self.db.execute(query)).mappings()]


def _among(column: Any, ids: Sequence[UUID]) -> ColumnElement[bool]:
    """`= ANY(array)`: one parameter, where IN has a thousand."""
    found: ColumnElement[bool] = column == any_(literal(list(ids), ARRAY(Uuid())))
    return found


def anchor_of(row: AuditAnchorRow) -> Anchor:
    """The anchor as the domain has it."""
    return Anchor.model_validate({name: getattr(row, name) for name in Anchor.model_fields})


def _head(row: AuditHeadRow) -> Head:
    return Head(agent_id=row.agent_id, seq=row.seq, hash=row.hash)
