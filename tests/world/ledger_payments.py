"""Payments of the in-memory ledger."""

from collections.abc import Sequence
from uuid import UUID

from autopay.adapters.postgres.payments.content import receipt_json
from autopay.domain.errors import IllegalTransition, LedgerFenced, OrderDiffers
from autopay.domain.money import show
from autopay.domain.payment.attempt import NO_CONTEXT, RecordedAttempt, SignedPayment, SigningContext
from autopay.domain.payment.exchange import Receipt, Reply, claims_settlement, with_claim
from autopay.domain.payment.offer import Offer
from autopay.domain.payment.payment import MAX_ATTEMPTS, Conflict, Content, NoAnswer, Payment, SellerAnswer, Settlement
from autopay.domain.payment.status import OPEN, TransactionStatus, advance, move
from autopay.domain.payment.steps import PaidBefore
from autopay.domain.policy.policy import Ask, Awaiting
from autopay.domain.refusal import RefusalReason, Refused
from autopay.domain.text.hosts import host_and_port
from tests.world.ledger_policies import MemoryPolicies
from tests.world.ledger_sessions import MemorySessions
from tests.world.rows import AttemptEntry, RequestEntry, SessionEntry
from tests.world.store import Store, transaction


class MemoryPayments:
    """Attempts: recorded whole before anything leaves, and moved along legal statuses only."""

    def __init__(self, store: Store, sessions: MemorySessions, policies: MemoryPolicies) -> None:
        self.store = store
        self._sessions = sessions
        self._policies = policies

    @transaction
    def recall(self, request_key: str) -> Payment:
        """The payment so far."""
        return self.store.request_row(request_key).payment()

    @transaction
    def attempt(self, request_key: str, number: int) -> RecordedAttempt | None:
        """What was recorded of that attempt."""
        rows = self.store.requests[request_key].attempts if request_key in self.store.requests else []
        return next((each.recorded() for each in rows if each.number == number), None)

    @transaction
    def permit(
        self, request_key: str, offer: Offer, program: str, memos: Sequence[str], destination: str
    ) -> PaidBefore | Awaiting | Refused | None:
        """Whether these terms may be paid, before anything is signed. This ledger is never restored."""
        self._require_no_fence()
        row = self.store.request_row(request_key)
        terms, verdict = self._policies.judged(row, offer, program)
        if isinstance(verdict, Ask):
            row.processed = True
            return self._policies.ask(row, terms, verdict)
        return verdict if isinstance(verdict, Refused) else None

    @transaction
    def record_attempt(
        self,
        request_key: str,
        number: int,
        session_id: UUID,
        signed: SignedPayment,
        context: SigningContext = NO_CONTEXT,
    ) -> RecordedAttempt | PaidBefore | Awaiting | Refused:
        """Write-ahead: reserve the money and record the payment. This ledger is never restored."""
        request = self.store.request_row(request_key)
        known = next((each for each in request.attempts if each.number == number), None)
        if known is not None:
            return known.recorded()
        opening = context.opening
        spec = request.spec
        if opening is not None and (opening.terms_hash != spec.terms_hash() or spec.sealed_extras is not None):
            raise OrderDiffers(request_key)
        self._require_no_fence()
        self.require_next(request, number)
        session = next((each for each in self.store.sessions if each.key.session_id == session_id), None)
        if session is None:
            return Refused(reason=RefusalReason.SESSION_MISSING, message=f"there is no session {session_id}")
        pays = (request.agent, signed.offer.currency, signed.offer.mint, signed.source_account)
        if (session.agent, session.key.currency, session.key.mint, session.key.source_account) != pays:
            raise IllegalTransition(f"{request_key} is not for session {session_id} to pay")
        refused = self._refused_by_session(session, request, signed, context)
        if refused is not None:
            return refused
        terms, verdict = self._policies.judged(request, signed.offer, signed.program)
        if isinstance(verdict, Ask):
            request.processed = True
            return self._policies.ask(request, terms, verdict)
        if isinstance(verdict, Refused):
            return verdict
        if any(each.signed.message_hash == signed.message_hash for each in self.store.attempts.values()):
            raise IllegalTransition(f"another payment has the bytes of attempt {number}")
        self._policies.consume(request, terms, verdict)
        row = self.insert(request, number, session, signed)
        if opening is not None:
            request.http_status, request.processed = 402, True
        if context.handed_over_next:
            self._count_send(row)
        return row.recorded().model_copy(update={"is_new": True})

    def _refused_by_session(
        self, session: SessionEntry, request: RequestEntry, signed: SignedPayment, context: SigningContext
    ) -> Refused | None:
        payments, spent = self._sessions.usage_of(session.key.session_id)
        refused = self._sessions.refusal_of(session, payments) or self._sessions.host_refusal(
            session, host_and_port(request.spec.url)
        )
        if refused is not None:
            return refused
        left, offer, delegated = session.key.allowance_atomic - spent, signed.offer, context.delegated_atomic
        if delegated is not None and left > delegated:
            reason = f"{left - delegated} more than the ledger knows of"
            self.store.faults.trace.add("fenced", reason=reason)
            self.store.fence_reason = self.store.fence_reason or reason
            raise LedgerFenced(reason)
        if offer.amount_atomic > left:
            asked, rest = show(offer.amount_atomic, offer.currency), show(max(left, 0), offer.currency)
            message = f"{asked} is asked, {rest} is left to the session"
            return Refused(reason=RefusalReason.ALLOWANCE_EXHAUSTED, message=message)
        if self._sessions.own(request.agent, {offer.pay_to, offer.fee_payer}):
            message = "the offer names an address of the agent's own sessions"
            return Refused(reason=RefusalReason.PAYEE_INVALID, message=message)
        return None

    @transaction
    def open_attempts(self) -> Sequence[RecordedAttempt]:
        """Every attempt without an outcome, oldest first."""
        return [each.recorded() for each in self.store.attempts.values() if each.status in OPEN]

    def _require_no_fence(self) -> None:
        if self.store.fence_reason is not None:
            raise LedgerFenced(self.store.fence_reason)

    def require_next(self, request: RequestEntry, number: int) -> None:
        """Attempt `number` may be signed now.

        Raises:
            IllegalTransition: the request has ended or is delivered, or an earlier attempt is not proven dead.
        """
        if request.closed:
            raise IllegalTransition(f"{request.key} has ended, nothing is signed for it")
        if any(each.is_alive for each in request.attempts):
            raise IllegalTransition(f"attempt {number} of {request.key} must wait until it is proven dead")
        if request.delivery == "DELIVERED":
            raise IllegalTransition(f"{request.key} is delivered, nothing is signed for it again")
        if number != len(request.attempts) + 1 or number > MAX_ATTEMPTS:
            raise IllegalTransition(f"attempt {number} of {request.key} cannot follow {len(request.attempts)}")

    def insert(self, request: RequestEntry, number: int, session: SessionEntry, signed: SignedPayment) -> AttemptEntry:
        """The new row."""
        attempt_id = self.store.next_id("attempt")
        event = self.store.faults.trace.add(
            "recorded", request=request.key, number=number, attempt=attempt_id, message_hash=signed.message_hash
        )
        row = AttemptEntry(attempt_id, request.key, number, session.key, request.agent, signed, event.seq, event.at_ms)
        self.store.attempts[attempt_id] = row
        request.attempts.append(row)
        return row

    @transaction
    def record_sending(self, attempt_id: UUID) -> int:
        """About to hand the bytes over."""
        row = self.store.attempt_row(attempt_id)
        if row.status is TransactionStatus.FAILED:
            raise IllegalTransition(f"attempt {attempt_id} is FAILED, it cannot be sent")
        if row.status is TransactionStatus.VERIFIED:
            row.last_answer = row.last_answer if row.settled_sends else None
            row.settled_sends += 1
        return self._count_send(row)

    def _count_send(self, row: AttemptEntry) -> int:
        row.sends += 1
        if row.sends > 1:
            row.status = advance(row.status, TransactionStatus.RETRYING)
        self.store.faults.trace.add("sending", attempt=row.attempt_id, send=row.sends)
        return row.sends

    @transaction
    def record_answer(self, attempt_id: UUID, reply: Reply, answer: SellerAnswer) -> None:
        """What the seller answered to a payment."""
        receipt = reply.receipt
        row = self.store.attempt_row(attempt_id)
        request = self.store.requests[row.request_key]
        row.last_answer = answer.kind
        row.facilitator_response = receipt_json(receipt) or row.facilitator_response
        self.keep_claim(row, receipt)
        wanted = TransactionStatus.SUCCESS if claims_settlement(receipt) else TransactionStatus.RETRYING
        row.status = advance(row.status, wanted)
        claim = receipt.transaction if receipt else None
        self.store.faults.trace.add("answer", attempt=attempt_id, status=reply.http_status, claim=claim)
        if request.delivery == "DELIVERED":
            return
        if not isinstance(answer, NoAnswer):
            request.http_status = reply.http_status
        request.conflict = request.conflict or isinstance(answer, Conflict)
        if reply.location is not None:
            request.content_location = reply.location
        if isinstance(answer, Content):
            request.store_content(reply)

    @staticmethod
    def keep_claim(row: AttemptEntry, receipt: Receipt | None) -> None:
        """The signatures that receipts name, in order, each once."""
        row.claims = list(with_claim(tuple(row.claims), receipt))

    @transaction
    def record_seen(self, attempt_id: UUID, settlement: Settlement, *, final: bool) -> None:
        """The chain has the transfer."""
        self.store.book_transfer(attempt_id, settlement, final=final)

    @transaction
    def record_dead(self, attempt_id: UUID, reason: str) -> None:
        """Proven not settled."""
        row = self.store.attempt_row(attempt_id)
        if row.status is TransactionStatus.FAILED:
            return
        row.status = move(row.status, TransactionStatus.FAILED)
        row.error_code = reason
        self.store.faults.trace.add("dead", attempt=attempt_id, reason=reason)
