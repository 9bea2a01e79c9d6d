"""What a reconciliation asks the ledger: sessions, bookings by slot or transaction, and totals. Reading only."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, func, or_, select

from autopay.adapters.postgres.rows import atomic
from autopay.adapters.postgres.tables.core import AgentRow, RequestRow, SessionRow, TransactionRow
from autopay.adapters.postgres.transaction import Transactional, agent_named
from autopay.domain.network import Network
from autopay.domain.payment.status import TransactionStatus
from autopay.domain.reconcile.compare import BookedAttempt, Payer
from autopay.domain.reconcile.run import Closing

BOOKED = or_(
    TransactionRow.status == TransactionStatus.VERIFIED,
    and_(TransactionRow.status == TransactionStatus.SUCCESS, TransactionRow.slot.is_not(None)),
)
"""The ledger says that the chain has it: not on a receipt's word alone."""

MOST_STRAYS = 1_000
"""Entries of a kind that a report lists; totals count all."""


class Audits(Transactional):
    """Implements the port `Books`."""

    async def payers(self, agent: str | None = None) -> Sequence[Payer]:
        """Every session that ever could pay, oldest first."""
        query = (
            select(SessionRow, AgentRow.name)
            .join(AgentRow, AgentRow.id == SessionRow.agent_id)
            .where(SessionRow.public_key.is_not(None), SessionRow.source_account.is_not(None))
            .order_by(SessionRow.created_at, SessionRow.id)
        )
        async with self._transaction() as db:
            if agent is not None:
                query = query.where(SessionRow.agent_id == (await agent_named(db, agent)).id)
            return [_payer(row, name) for row, name in await db.execute(query)]

    async def booked_attempts(
        self,
        session_id: UUID,
        *,
        above_slot: int,
        up_to_slot: int,
        message_hashes: Sequence[str],
        signatures: Sequence[str],
    ) -> Sequence[BookedAttempt]:
        """The session's bookings in those slots, and what has one of those messages or transactions; see the port."""
        within = and_(
            TransactionRow.session_id == session_id,
            BOOKED,
            TransactionRow.slot > above_slot,
            TransactionRow.slot <= up_to_slot,
        )
        met = or_(TransactionRow.message_hash.in_(message_hashes), TransactionRow.hash.in_(signatures))
        async with self._transaction() as db:
            # Two statements, each with its own index; an attempt that both find is told once.
            rows = [*await db.execute(_attempts().where(within)), *await db.execute(_attempts().where(met))]
        return list({row.id: _attempt(row, name, request) for row, name, request in rows}.values())

    async def closing(
        self, agent: str | None, network: Network, up_to_slot: int, attempt_ids: Sequence[UUID]
    ) -> Closing:
        """Totals up to a slot, and attempts as they stand at that very moment; see the port."""
        async with self._transaction() as db:
            # One snapshot for all: an attempt is in the totals or still open, never both.
            await db.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            which: list[ColumnElement[bool]] = [TransactionRow.network == network]
            if agent is not None:
                which.append(TransactionRow.agent_id == (await agent_named(db, agent)).id)
            counted = and_(BOOKED, or_(TransactionRow.slot <= up_to_slot, TransactionRow.slot.is_(None)))
            sums = select(TransactionRow.currency, func.count(), func.sum(TransactionRow.amount))
            totals = (await db.execute(sums.where(*which, counted).group_by(TransactionRow.currency))).all()
            parts: dict[str, tuple[BookedAttempt, ...]] = {}
            for part, condition in (
                ("attempts", TransactionRow.id.in_(attempt_ids)),
                ("strays", and_(counted, or_(TransactionRow.slot.is_(None), ~_has_session()))),
                ("claimed", and_(TransactionRow.status == TransactionStatus.SUCCESS, TransactionRow.slot.is_(None))),
                ("fresh", and_(BOOKED, TransactionRow.slot > up_to_slot)),
            ):
                query = _attempts().where(*which, condition).order_by(TransactionRow.created_at, TransactionRow.id)
                found = await db.execute(query if part == "attempts" else query.limit(MOST_STRAYS))
                parts[part] = tuple(_attempt(row, name, request) for row, name, request in found)
        return Closing(
            payments=sum(total[1] for total in totals),
            spent_atomic={total[0]: atomic(total[2]) for total in totals},
            **parts,
        )


def _attempts() -> Select[TransactionRow, str, str | None]:
    return (
        select(TransactionRow, AgentRow.name, RequestRow.request_id)
        .join(AgentRow, AgentRow.id == TransactionRow.agent_id)
        .outerjoin(RequestRow, RequestRow.x402_request_id == TransactionRow.x402_request_id)
    )


def _has_session() -> ColumnElement[bool]:
    walked = SessionRow.public_key.is_not(None) & SessionRow.source_account.is_not(None)
    return select(SessionRow.id).where(SessionRow.id == TransactionRow.session_id, walked).exists()


def _payer(row: SessionRow, agent: str) -> Payer:
    values = {
        "session_id": row.id,
        "agent": agent,
        "currency": row.currency,
        "source_account": row.source_account,
        "authority": row.public_key,
    }
    return Payer.model_validate(values)


def _attempt(row: TransactionRow, agent: str, request_id: str | None) -> BookedAttempt:
    values: dict[str, Any] = {
        "attempt_id": row.id,
        "agent": agent,
        "request_id": request_id,
        "number": row.attempt_number,
        "status": row.status.value,
        "amount_atomic": atomic(row.amount),
        "signature": row.hash,
    }
    same = BookedAttempt.model_fields.keys() - values.keys()
    return BookedAttempt.model_validate(values | {name: getattr(row, name) for name in same})
