"""Sessions as people see them: the query, and its rows as `SessionRecord`."""

from decimal import Decimal

from sqlalchemy import Select, func, select

from autopay.adapters.postgres.database.rows import atomic, session_key
from autopay.adapters.postgres.sessions.scope import (
    duration_of,
    hosts_of,
    is_granted,
    owner_transaction_of,
    tx_limit_of,
)
from autopay.adapters.postgres.tables.core import AgentRow, SessionRow, TransactionRow
from autopay.domain.payment.status import OPEN, SPENT, TransactionStatus
from autopay.domain.session import SessionRecord

COUNTS_AS_SPENT = TransactionRow.status != TransactionStatus.FAILED
"""From the moment it is reserved until the attempt is proven dead."""


def session_records() -> Select[SessionRow, str, int, Decimal, Decimal, int]:
    """Columns for `session_record`, newest session first."""
    spent, still_open = TransactionRow.status.in_(SPENT), TransactionRow.status.in_(OPEN)
    total = func.coalesce(func.sum(TransactionRow.amount), 0)
    return (
        select(
            SessionRow,
            AgentRow.name,
            func.count(TransactionRow.id),
            total,
            func.coalesce(func.sum(TransactionRow.amount).filter(spent), 0),
            func.count(TransactionRow.id).filter(still_open),
        )
        .join(AgentRow, AgentRow.id == SessionRow.agent_id)
        .outerjoin(TransactionRow, (TransactionRow.session_id == SessionRow.id) & COUNTS_AS_SPENT)
        .where(SessionRow.public_key.is_not(None))
        .group_by(SessionRow.id, AgentRow.name)
        .order_by(SessionRow.created_at.desc(), SessionRow.id.desc())
    )


def session_record(
    row: SessionRow, agent: str, payments: int, reserved: Decimal, spent: Decimal, open_payments: int
) -> SessionRecord:
    """One row of `session_records`."""
    key = session_key(row)
    return SessionRecord(
        session_id=row.id,
        agent=agent,
        status=row.status.value,
        currency=key.currency,
        mint=key.mint,
        source_account=key.source_account,
        owner=key.owner,
        authority=key.authority,
        allowance_atomic=key.allowance_atomic,
        reserved_atomic=atomic(reserved),
        spent_atomic=atomic(spent),
        payments=payments,
        open_payments=open_payments,
        tx_limit=tx_limit_of(row),
        duration_s=duration_of(row),
        hosts=hosts_of(row),
        granted=is_granted(row),
        owner_transaction=owner_transaction_of(row),
        created_at=row.created_at,
        expires_at=row.expires_at,
    )
