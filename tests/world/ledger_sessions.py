"""Sessions of the in-memory ledger: which key may pay, and how much of its allowance is taken."""

from uuid import UUID

from autopay.domain.money import Currency
from autopay.domain.payment.status import SPENT, TransactionStatus
from autopay.domain.refusal import RefusalReason, Refused
from autopay.domain.session import Booked, OpenSession
from tests.world.clock import moment, now_ms
from tests.world.rows import SessionEntry
from tests.world.store import Store, transaction


class MemorySessions:
    """Keys that may pay."""

    def __init__(self, store: Store) -> None:
        self.store = store

    @transaction
    def current(self, agent: str, currency: Currency) -> OpenSession | Refused:
        """The session that pays now, or why none does."""
        mine = [each for each in self.store.sessions if each.agent == agent and each.key.currency == currency]
        if not mine:
            return Refused(reason=RefusalReason.SESSION_MISSING, message=f"agent {agent} has no session in {currency}")
        newest = max(mine, key=lambda each: (each.status == "ACTIVE", each.created_at_ms))
        if newest.status == "ACTIVE" and newest.expires_at_ms <= now_ms():
            newest.status, newest.sealed_key = "EXPIRED", ""
        payments, spent = self.taken(newest.key.session_id)
        return self.refusal_of(newest, payments) or OpenSession(
            key=newest.key,
            sealed_key=newest.sealed_key,
            spent_atomic=spent,
            payments=payments,
            tx_limit=newest.tx_limit,
            expires_at=moment(newest.expires_at_ms),
        )

    def taken(self, session_id: UUID) -> tuple[int, int]:
        """Payments and base units: reserved until proven dead."""
        amounts = [
            each.amount_atomic
            for each in self.store.attempts.values()
            if each.session.session_id == session_id and each.status is not TransactionStatus.FAILED
        ]
        return len(amounts), sum(amounts)

    def refusal_of(self, session: SessionEntry, payments: int) -> Refused | None:
        if session.status == "REVOKED":
            return Refused(reason=RefusalReason.SESSION_MISSING, message="the agent's session was revoked")
        if session.status == "EXPIRED" or session.expires_at_ms <= now_ms():
            return Refused(reason=RefusalReason.SESSION_EXPIRED, message="the agent's session ended")
        if payments >= session.tx_limit:
            return Refused(reason=RefusalReason.SESSION_TX_LIMIT, message=f"limited to {session.tx_limit} payments")
        return None

    @transaction
    def in_flight_atomic(self, session_id: UUID) -> int:
        """Reserved, and shown by no reading of the chain."""
        waiting = (TransactionStatus.PENDING, TransactionStatus.RETRYING)
        mine = [each for each in self.store.attempts.values() if each.session.session_id == session_id]
        claimed = [each for each in mine if each.status is TransactionStatus.SUCCESS and each.slot is None]
        return sum(each.amount_atomic for each in mine if each.status in waiting) + sum(
            each.amount_atomic for each in claimed
        )

    @transaction
    def booked_up_to(self, session_id: UUID, slot: int, besides: UUID | None = None) -> Booked:
        """The allowance, and what settled on chain against it at or before that slot, one attempt aside."""
        session = next(each for each in self.store.sessions if each.key.session_id == session_id)
        settled = sum(
            each.amount_atomic
            for each in self.store.attempts.values()
            if each.session.session_id == session_id
            and each.attempt_id != besides
            and each.status in SPENT
            and each.slot is not None
            and each.slot <= slot
        )
        return Booked(allowance_atomic=session.key.allowance_atomic, settled_atomic=settled)
