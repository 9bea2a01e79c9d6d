"""Compares the counters of sessions and days with the payments that they count, in one pass over the payments each."""

from collections.abc import Sequence
from decimal import Decimal
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from autopay.adapters.postgres.database.rows import atomic
from autopay.domain.audit.ledger_check import Usage, WrongCounter

# A counter that is missing and one without payments are the same: nothing is spent.
_WRONG_SESSIONS = text("""
WITH booked AS (
    SELECT session_id, count(*) AS payments, sum(amount) AS spent FROM transactions
     WHERE status <> 'FAILED' AND session_id IS NOT NULL GROUP BY session_id
), compared AS (
    SELECT session_id, coalesce(used.payments, 0) AS counted, coalesce(used.spent, 0) AS counted_spent,
           coalesce(booked.payments, 0) AS payments, coalesce(booked.spent, 0) AS spent
      FROM session_usage AS used FULL JOIN booked USING (session_id)
)
SELECT session_id, session.agent_id, counted, counted_spent, payments, spent
  FROM compared LEFT JOIN sessions AS session ON session.id = session_id
 WHERE (counted, counted_spent) <> (payments, spent)
   AND (CAST(:agent_id AS uuid) IS NULL OR session.agent_id = :agent_id)
 ORDER BY session_id
""")

_WRONG_DAYS = text("""
WITH booked AS (
    SELECT agent_id, (created_at AT TIME ZONE 'UTC')::date AS day, coalesce(host, '') AS host, count(*) AS payments,
           sum(amount) AS spent
      FROM transactions WHERE status <> 'FAILED' GROUP BY 1, 2, 3
), compared AS (
    SELECT agent_id, day, host, coalesce(used.payments, 0) AS counted, coalesce(used.spent, 0) AS counted_spent,
           coalesce(booked.payments, 0) AS payments, coalesce(booked.spent, 0) AS spent
      FROM day_usage AS used FULL JOIN booked USING (agent_id, day, host)
)
SELECT agent_id, day, host, counted, counted_spent, payments, spent FROM compared
 WHERE (counted, counted_spent) <> (payments, spent)
   AND (CAST(:agent_id AS uuid) IS NULL OR agent_id = :agent_id)
 ORDER BY agent_id, day, host
""")


async def wrong_counters(db: AsyncSession, agent_id: UUID | None) -> Sequence[WrongCounter]:
    """Every counter that is not the sum of its payments; of one agent's sessions and days, when one is given."""
    found: list[WrongCounter] = []
    for session_id, owner, *counts in await db.execute(_WRONG_SESSIONS, {"agent_id": agent_id}):
        found.append(WrongCounter("session_usage", f"session {session_id}", owner, session_id, *_compared(*counts)))
    for owner, day, host, *counts in await db.execute(_WRONG_DAYS, {"agent_id": agent_id}):
        name = f"{day} at {host or 'unknown hosts'}"
        found.append(WrongCounter("day_usage", name, owner, None, *_compared(*counts)))
    return found


def _compared(counted: int, counted_spent: Decimal, payments: int, spent: Decimal) -> tuple[Usage, Usage]:
    return Usage(counted, atomic(counted_spent)), Usage(payments, atomic(spent))
