"""`OperatorActions`: who ordered what, recorded before it is done; triggers make each of them an event of the proof.

| crash at | leaves |
|---|---|
| before `begin` has committed | nothing: what was ordered is not done |
| between `begin` and `end` | an order without an outcome: it may have been done, as its effects show |
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import and_, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from autopay.adapters.postgres.database.transaction import Database, agent_named
from autopay.adapters.postgres.tables.access import ActionRow
from autopay.adapters.postgres.tables.core import AgentRow
from autopay.domain.access.records import ActionRecord
from autopay.uuid7 import uuid7

MOST_ERROR_CHARS = 1_000


class OperatorActions:
    """Orders of callers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(
        self,
        action: str,
        *,
        actor: str,
        via: str,
        token_id: UUID | None = None,
        agent: str | None = None,
        target: str | None = None,
        details: dict[str, Any] | None = None,
    ) -> UUID:
        """Record that it is to be done. Give no secret in the details: they are in events, which are never deleted.

        Raises:
            UnknownAgent: there is none of that name.
        """
        async with self._database.transaction() as db:
            agent_id = None if agent is None else (await agent_named(db, agent)).id
            return await _begin(db, action, actor, via, details, agent_id=agent_id, token_id=token_id, target=target)

    async def end(self, action_id: UUID, outcome: str, error: str | None = None) -> None:
        """Record what became of it: done, refused or failed. The first outcome stays."""
        async with self._database.transaction() as db:
            await _end(db, action_id, outcome, error)

    async def record(
        self, action: str, *, actor: str, via: str, details: dict[str, Any], outcome: str, error: str | None
    ) -> UUID:
        """Record what a schedule has done, afterwards: it may be done again, so nobody looks for what was begun."""
        async with self._database.transaction() as db:
            action_id = await _begin(db, action, actor, via, details)
            await _end(db, action_id, outcome, error)
        return action_id

    async def newest(
        self, *, agent: str | None = None, before: UUID | None = None, limit: int = 50
    ) -> Sequence[ActionRecord]:
        """The last orders, the newest first; those before that one, when it is given."""
        query = select(ActionRow, AgentRow.name).outerjoin(AgentRow, AgentRow.id == ActionRow.agent_id)
        async with self._database.transaction() as db:
            if agent is not None:
                query = query.where(ActionRow.agent_id == (await agent_named(db, agent)).id)
            if before is not None:
                query = query.where(ActionRow.id < before)
            found = await db.execute(query.order_by(ActionRow.id.desc()).limit(limit))
            return [_record(row, name) for row, name in found]


async def _begin(
    db: AsyncSession,
    action: str,
    actor: str,
    via: str,
    details: dict[str, Any] | None,
    *,
    agent_id: UUID | None = None,
    token_id: UUID | None = None,
    target: str | None = None,
) -> UUID:
    action_id = uuid7()
    values = {
        "id": action_id,
        "agent_id": agent_id,
        "actor": _storable(actor),
        "via": via,
        "token_id": token_id,
        "action": action,
        "target": None if target is None else _storable(target),
        "details": _storable_json(details) if details else None,
    }
    await db.execute(insert(ActionRow).values(**values))
    return action_id


async def _end(db: AsyncSession, action_id: UUID, outcome: str, error: str | None) -> None:
    values = {
        "outcome": outcome,
        "error": None if error is None else _storable(error)[:MOST_ERROR_CHARS],
        "ended_at": func.clock_timestamp(),
    }
    which = and_(ActionRow.id == action_id, ActionRow.ended_at.is_(None))
    await db.execute(update(ActionRow).where(which).values(**values))


def _storable(text: str) -> str:
    """The text without what PostgreSQL does not store."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _storable_json(value: Any) -> Any:
    match value:
        case str():
            return _storable(value)
        case dict():
            return {_storable(str(name)): _storable_json(each) for name, each in value.items()}
        case list() | tuple():
            return [_storable_json(each) for each in value]
        case _:
            return value


def _record(row: ActionRow, agent: str | None) -> ActionRecord:
    return ActionRecord(
        action_id=row.id,
        actor=row.actor,
        via=row.via,
        action=row.action,
        agent=agent,
        target=row.target,
        details=row.details or {},
        created_at=row.created_at,
        outcome=row.outcome,
        error=row.error,
        ended_at=row.ended_at,
    )
