"""What a reconciliation asks the ledger, and what it books there after a restore."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, ScalarSelect, Select, and_, func, or_, select, union
from sqlalchemy.dialects.postgresql import distinct_on, insert

from autopay.adapters.postgres.database.rows import atomic
from autopay.adapters.postgres.database.transaction import Database, agent_named
from autopay.adapters.postgres.payments.fence import fence_row
from autopay.adapters.postgres.payments.forgotten import BOOKED_LATER
from autopay.adapters.postgres.sessions.scope import scope_of
from autopay.adapters.postgres.sessions.sessions import DESTROYED
from autopay.adapters.postgres.tables.core import AgentRow, RequestRow, SessionRow, TransactionRow
from autopay.adapters.postgres.tables.fence import FenceRow
from autopay.domain.errors import IllegalTransition
from autopay.domain.money import to_units
from autopay.domain.network import Network
from autopay.domain.payment.settlement import verification_hash
from autopay.domain.payment.status import TransactionStatus
from autopay.domain.reconcile.compare import BookedAttempt, Payer
from autopay.domain.reconcile.restored import AccountOwner, ForgottenPayment, ForgottenSession
from autopay.domain.reconcile.run import LedgerTotals
from autopay.domain.session import SessionStatus
from autopay.uuid7 import uuid7

BOOKED = or_(
    TransactionRow.status == TransactionStatus.VERIFIED,
    and_(TransactionRow.status == TransactionStatus.SUCCESS, TransactionRow.slot.is_not(None)),
)
"""The ledger says that the chain has it: a receipt alone does not count."""


MAX_STRAYS = 1_000
"""Entries of a kind that a report lists; totals count all."""


FORGOTTEN_KEY = "forgotten/"


class Reconciliation:
    """Implements the port `ReconciledLedger`, and `RestoredLedger` after a restore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def payers(self, agent: str | None = None) -> Sequence[Payer]:
        """Every session that ever could pay, oldest first."""
        query = (
            select(SessionRow, AgentRow.name)
            .join(AgentRow, AgentRow.id == SessionRow.agent_id)
            .where(SessionRow.public_key.is_not(None), SessionRow.source_account.is_not(None))
            .order_by(SessionRow.created_at, SessionRow.id)
        )
        async with self._database.transaction() as db:
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
        async with self._database.transaction() as db:
            # Two statements, each with its own index; an attempt that both find is listed once.
            rows = [*await db.execute(_attempts().where(within)), *await db.execute(_attempts().where(met))]
        return list({row.id: _attempt(row, name, request) for row, name, request in rows}.values())

    async def totals(
        self, agent: str | None, network: Network, up_to_slot: int, attempt_ids: Sequence[UUID]
    ) -> LedgerTotals:
        """Totals up to a slot, and attempts as they stand at that very moment; see the port."""
        async with self._database.transaction(snapshot=True) as db:
            # One snapshot for all: an attempt is in the totals or still open, never both.
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
                found = await db.execute(query if part == "attempts" else query.limit(MAX_STRAYS))
                parts[part] = tuple(_attempt(row, name, request) for row, name, request in found)
        return LedgerTotals(
            payments=sum(total[1] for total in totals),
            spent_atomic={total[0]: atomic(total[2]) for total in totals},
            **parts,
        )

    async def newest_known_slot(self) -> int | None:
        """Of the payments that the ledger knew before the fence."""
        query = select(func.max(TransactionRow.slot)).where(
            TransactionRow.error_code.is_distinct_from(BOOKED_LATER), TransactionRow.created_at < _raised_at()
        )
        async with self._database.transaction() as db:
            return await db.scalar(query)

    async def owners(self) -> Sequence[AccountOwner]:
        """Every wallet that a session or an agent pays from, with its oldest agent."""
        sessions = select(SessionRow.owner_wallet, SessionRow.agent_id).where(SessionRow.owner_wallet.is_not(None))
        wallets = union(sessions, select(AgentRow.wallet_address, AgentRow.id)).subquery()
        query = (
            select(wallets.c[0], AgentRow.id, AgentRow.name)
            .join(AgentRow, AgentRow.id == wallets.c[1])
            .order_by(wallets.c[0], AgentRow.created_at)
            .ext(distinct_on(wallets.c[0]))
        )
        async with self._database.transaction() as db:
            rows = (await db.execute(query)).all()
        return [AccountOwner(wallet=wallet, agent_id=agent_id, agent=name) for wallet, agent_id, name in rows]

    async def book_session(self, found: ForgottenSession) -> bool:
        """Record a session that was granted after the backup, as ended: its key is lost, its account is not.

        Raises:
            IllegalTransition: no fence is up.
        """
        async with self._database.transaction() as db:
            await fence_row(db)
            known = await db.scalar(
                select(SessionRow.id).where(
                    SessionRow.source_account == found.source_account, SessionRow.public_key == found.authority
                )
            )
            if known is not None:
                return False
            now = await db.scalar(select(func.clock_timestamp()))
            assert now is not None
            db.add(
                SessionRow(
                    id=uuid7(),
                    agent_id=found.agent_id,
                    session_token=DESTROYED,
                    scope=scope_of(0, 0, found.allowance_atomic, found.currency),
                    status=SessionStatus.REVOKED,
                    created_at=now,
                    expires_at=now,
                    public_key=found.authority,
                    currency=found.currency,
                    mint=found.mint,
                    source_account=found.source_account,
                    owner_wallet=found.owner,
                    allowance=to_units(found.allowance_atomic),
                )
            )
            return True

    async def book_forgotten(self, payment: ForgottenPayment) -> bool:
        """Book a payment that the chain shows and the ledger forgot; False when it was booked before.

        Raises:
            IllegalTransition: no fence is up, or the session is not known.
        """
        settlement = payment.settlement
        async with self._database.transaction() as db:
            await fence_row(db)
            session = await db.get(SessionRow, payment.session_id)
            if session is None:
                raise IllegalTransition(f"there is no session {payment.session_id}")
            row = {
                "id": uuid7(),
                "agent_id": session.agent_id,
                "session_id": session.id,
                "x402_request_id": FORGOTTEN_KEY + settlement.signature,
                "status": TransactionStatus.VERIFIED,
                "network": payment.network,
                "currency": payment.currency,
                "amount": to_units(settlement.amount_atomic),
                "mint": settlement.mint,
                "hash": settlement.signature,
                "slot": settlement.slot,
                "memo": payment.memo,
                "message_hash": payment.message_hash,
                "source_account": payment.source_account,
                "destination_account": settlement.destination,
                "authority": settlement.payer,
                "error_code": BOOKED_LATER,
                "verification_hash": verification_hash(payment.network, settlement),
            }
            added = await db.execute(
                insert(TransactionRow).values(row).on_conflict_do_nothing().returning(TransactionRow.id)
            )
            return len(added.all()) > 0


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


def _raised_at() -> ScalarSelect[datetime]:
    return select(FenceRow.raised_at).where(FenceRow.lifted_at.is_(None)).scalar_subquery()
