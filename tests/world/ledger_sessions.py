"""Sessions of the in-memory ledger: which key may pay, and how much of its allowance is spent."""

from collections.abc import Collection
from uuid import UUID

from autopay.domain.money import Currency
from autopay.domain.payment.status import SPENT, TransactionStatus
from autopay.domain.refusal import RefusalReason, Refused
from autopay.domain.session import Booked, ClaimedPayment, InFlight, NewSession, OpenSession, SessionKey
from autopay.domain.text.hosts import is_any_of
from tests.world.clock import moment, now_ms
from tests.world.rows import SessionEntry
from tests.world.store import Store, transaction


class MemorySessions:
    """Keys that may pay."""

    def __init__(self, store: Store) -> None:
        self.store = store

    @transaction
    def create(self, new: NewSession) -> None:
        """Open a session that its owner has granted already; the same id again changes nothing."""
        if any(each.key.session_id == new.session_id for each in self.store.sessions):
            return
        key = SessionKey(
            session_id=new.session_id,
            agent_id=self.store.agent_row(new.agent).agent_id,
            currency=new.currency,
            mint=new.mint,
            source_account=new.source_account,
            owner=new.owner,
            authority=new.authority,
            allowance_atomic=new.allowance_atomic,
        )
        ends_at_ms = now_ms() + new.duration_s * 1000
        self.store.add_session(
            SessionEntry(key, new.agent, new.sealed_key, new.tx_limit, now_ms(), ends_at_ms, hosts=new.hosts)
        )

    @transaction
    def end(self, session_id: UUID) -> bool:
        """Revoke a session and destroy its sealed key; False when it had ended already or is unknown."""
        for each in self.store.sessions:
            if each.key.session_id == session_id and each.status == "ACTIVE":
                each.status, each.sealed_key = "REVOKED", ""
                return True
        return False

    @transaction
    def current(self, agent: str, currency: Currency) -> OpenSession | Refused:
        """The session that pays now, or why none does."""
        self.store.agent_row(agent)
        mine = [each for each in self.store.sessions if each.agent == agent and each.key.currency == currency]
        if not mine:
            return Refused(reason=RefusalReason.SESSION_MISSING, message=f"agent {agent} has no session in {currency}")
        newest = max(reversed(mine), key=lambda each: (each.status == "ACTIVE", each.created_at_ms))
        if newest.status == "ACTIVE" and newest.expires_at_ms <= now_ms():
            newest.status, newest.sealed_key = "EXPIRED", ""
        payments, spent = self.usage_of(newest.key.session_id)
        return self.refusal_of(newest, payments) or OpenSession(
            key=newest.key,
            sealed_key=newest.sealed_key,
            spent_atomic=spent,
            payments=payments,
            tx_limit=newest.tx_limit,
            expires_at=moment(newest.expires_at_ms),
        )

    @transaction
    def own_among(self, agent: str, addresses: Collection[str]) -> frozenset[str]:
        """Those of the addresses that are the agent's own."""
        return self.own(agent, addresses)

    def own(self, agent: str, addresses: Collection[str]) -> frozenset[str]:
        """The same, in another transaction."""
        mine = [each.key for each in self.store.sessions if each.agent == agent]
        return frozenset(addresses) & {each for key in mine for each in (key.owner, key.authority, key.source_account)}

    def usage_of(self, session_id: UUID) -> tuple[int, int]:
        """Payments and base units: reserved until proven dead."""
        mine = [each for each in self.store.attempts.values() if each.session.session_id == session_id]
        amounts = [each.amount_atomic for each in mine if each.is_alive]
        return len(amounts), sum(amounts)

    @staticmethod
    def host_refusal(session: SessionEntry, host: str) -> Refused | None:
        """Why the session may not pay that host, if so."""
        if not session.hosts or is_any_of(session.hosts, host):
            return None
        return Refused(reason=RefusalReason.HOST_NOT_ALLOWED, message=f"the agent's session may not pay {host}")

    @staticmethod
    def refusal_of(session: SessionEntry, payments: int) -> Refused | None:
        """Why the session may not make one more payment now, if so."""
        if session.status == "REVOKED":
            return Refused(reason=RefusalReason.SESSION_MISSING, message="the agent's session was revoked")
        if session.status == "EXPIRED" or session.expires_at_ms <= now_ms():
            return Refused(reason=RefusalReason.SESSION_EXPIRED, message="the agent's session ended")
        if payments >= session.tx_limit:
            return Refused(reason=RefusalReason.SESSION_TX_LIMIT, message=f"limited to {session.tx_limit} payments")
        return None

    @transaction
    def in_flight(self, session_id: UUID) -> InFlight:
        """Reserved, and shown by no reading of the chain."""
        mine = [each for each in self.store.attempts.values() if each.session.session_id == session_id]
        claimed = [each for each in mine if each.status is TransactionStatus.SUCCESS and each.slot is None]
        waiting = [each for each in mine if each.status in (TransactionStatus.PENDING, TransactionStatus.RETRYING)]
        return InFlight(
            amount_atomic=sum(each.amount_atomic for each in [*waiting, *claimed]),
            claimed=tuple(
                ClaimedPayment(
                    signature=each.claims[-1],
                    amount_atomic=each.amount_atomic,
                    blockhash_slot=each.signed.blockhash_slot,
                    newest_prior_signature=each.signed.newest_prior_signature,
                )
                for each in claimed
                if each.claims
            ),
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
