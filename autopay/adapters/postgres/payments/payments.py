"""Payments: attempts that are recorded whole before anything leaves, answers (claims) and outcomes (facts)."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Select, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from autopay.adapters.postgres.database.rows import atomic, payment, recorded_attempt
from autopay.adapters.postgres.database.transaction import Database, agent_named, locked_request, request_and_agent
from autopay.adapters.postgres.payments.content import prepared, receipt_json, storable_text, with_claim
from autopay.adapters.postgres.payments.fence import require_no_fence
from autopay.adapters.postgres.payments.forgotten import paid_before, require_not_forgotten
from autopay.adapters.postgres.payments.policy_check import ask_person, check_policy, use_up_approval
from autopay.adapters.postgres.payments.requests import attempts_of, store_content
from autopay.adapters.postgres.sessions.scope import host_refusal
from autopay.adapters.postgres.sessions.sessions import allowance_refusal, refusal_of, usage_of
from autopay.adapters.postgres.tables.core import AgentRow, RequestRow, SessionRow, TransactionRow
from autopay.domain.errors import IllegalTransition
from autopay.domain.hosts import host_and_port, resource_of
from autopay.domain.money import to_units
from autopay.domain.payment.attempt import RecordedAttempt, SignedPayment
from autopay.domain.payment.exchange import Reply
from autopay.domain.payment.offer import Offer
from autopay.domain.payment.payment import MAX_ATTEMPTS, Conflict, Content, NoAnswer, Payment, SellerAnswer, Settlement
from autopay.domain.payment.settlement import verification_hash
from autopay.domain.payment.status import OPEN, Delivery, TransactionStatus, advance, error_type_of, move
from autopay.domain.payment.steps import PaidBefore
from autopay.domain.policy.policy import Ask, Awaiting
from autopay.domain.refusal import RefusalReason, Refused
from autopay.uuid7 import uuid7

MAX_BACKOFF_MS = 2**31 - 1


class Payments:
    """Implements the port `PaymentStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def recall(self, request_key: str) -> Payment:
        """The payment so far; see the port."""
        async with self._database.transaction() as db:
            row, _ = await request_and_agent(db, request_key)
            return payment(row, await attempts_of(db, request_key))

    async def attempt(self, request_key: str, number: int) -> RecordedAttempt | None:
        """What was recorded of that attempt; see the port."""
        async with self._database.transaction() as db:
            query = _with_agent().where(
                TransactionRow.x402_request_id == request_key, TransactionRow.attempt_number == number
            )
            found = (await db.execute(query)).one_or_none()
        return recorded_attempt(found[0], found[1]) if found is not None else None

    async def open_attempts(self) -> Sequence[RecordedAttempt]:
        """Every attempt without an outcome, oldest first."""
        async with self._database.transaction() as db:
            query = (
                _with_agent()
                .where(TransactionRow.status.in_(OPEN), TransactionRow.attempt_number.is_not(None))
                .order_by(TransactionRow.created_at, TransactionRow.id)
            )
            return [recorded_attempt(row, agent) for row, agent in await db.execute(query)]

    async def permit(
        self, request_key: str, offer: Offer, program: str, memos: Sequence[str], destination: str
    ) -> PaidBefore | Awaiting | Refused | None:
        """Whether these terms may be paid, before anything is signed; see the port."""
        async with self._database.transaction() as db:
            await require_no_fence(db)
            request, name = await request_and_agent(db, request_key, lock=True)
            if (paid := await paid_before(db, request, memos, offer, destination)) is not None:
                return paid
            check = await check_policy(db, request, await agent_named(db, name), offer, program)
            if isinstance(check.verdict, Ask):
                return await ask_person(db, request, check)
            return check.verdict if isinstance(check.verdict, Refused) else None

    async def record_attempt(
        self, request_key: str, number: int, session_id: UUID, signed: SignedPayment
    ) -> RecordedAttempt | Awaiting | Refused:
        """Write-ahead: reserve the money and record the payment, in one transaction; see the port.

        Raises:
            IllegalTransition: an earlier attempt is not proven dead, the request has ended or is delivered, the
                session is not the agent's, or another payment has the same bytes.
            LedgerFenced: the ledger may have forgotten payments.
        """
        async with self._database.transaction() as db:
            # Locks, in this order: the agent serializes its days' limits, the session its budget, the request its
            # attempts.
            _, name = await request_and_agent(db, request_key)
            agent = await agent_named(db, name, lock=True)
            session = await db.get(SessionRow, session_id, with_for_update={"key_share": True})
            request, _ = await request_and_agent(db, request_key, lock=True)
            attempts = await attempts_of(db, request_key)
            known = next((row for row in attempts if row.attempt_number == number), None)
            if known is not None:
                return recorded_attempt(known, name)
            await require_no_fence(db)
            _require_next(request, attempts, number)
            await require_not_forgotten(db, request, signed.memo, signed.offer, signed.destination_account)
            if session is None:
                return Refused(reason=RefusalReason.SESSION_MISSING, message=f"there is no session {session_id}")
            _require_same(session, request, signed)
            payments, spent, now = await usage_of(db, session_id)
            amount = signed.offer.amount_atomic
            refused = (
                refusal_of(session, payments, now)
                or host_refusal(session, host_and_port(request.url or ""))
                or allowance_refusal(session, spent, amount)
            )
            if refused is not None:
                return refused
            check = await check_policy(db, request, agent, signed.offer, signed.program)
            if isinstance(check.verdict, Ask):
                return await ask_person(db, request, check)
            if isinstance(check.verdict, Refused):
                return check.verdict
            row = await _insert(db, request, session, number, signed)
            await use_up_approval(db, check, row.id)
            return recorded_attempt(row, name)

    async def record_sending(self, attempt_id: UUID) -> int:
        """About to hand the bytes over; returns the number of this send; see the port.

        Raises:
            IllegalTransition: the attempt is proven dead; its bytes must not leave again.
        """
        async with self._database.transaction() as db:
            row = await locked_attempt(db, attempt_id)
            if row.status is TransactionStatus.FAILED:
                raise IllegalTransition(f"attempt {attempt_id} is FAILED, it cannot be sent")
            now = await db.scalar(select(func.clock_timestamp()))
            assert now is not None
            row.sends += 1
            if row.status is TransactionStatus.VERIFIED:
                # A refusal from before the seller could know that it was paid is no answer to what is asked now.
                row.last_answer = row.last_answer if row.settled_sends else None
                row.settled_sends += 1
            if row.sends > 1:
                row.status = advance(row.status, TransactionStatus.RETRYING)
            if row.sent_at is not None:
                row.backoff_delay = min(round((now - row.sent_at).total_seconds() * 1000), MAX_BACKOFF_MS)
            row.sent_at = now
            if row.sends > 1 or row.retry_count > 0:
                again = update(RequestRow).where(RequestRow.x402_request_id == row.x402_request_id)
                await db.execute(again.values(retry_attempts=RequestRow.retry_attempts + 1))
            return row.sends

    async def record_answer(self, attempt_id: UUID, reply: Reply, answer: SellerAnswer) -> None:
        """What the seller answered to a payment; see the port. Content that is stored is never overwritten."""
        receipt = reply.receipt
        content = await prepared(reply) if isinstance(answer, Content) else None
        async with self._database.transaction() as db:
            attempt = await locked_attempt(db, attempt_id)
            request = await locked_request(db, attempt.x402_request_id)
            attempt.last_answer = answer.kind
            attempt.facilitator_response = receipt_json(receipt) or attempt.facilitator_response
            attempt.claims = with_claim(attempt.claims, receipt)
            claimed = receipt is not None and receipt.success and bool(receipt.transaction)
            # A claim of success moves the status, as the chain will confirm or deny it; all else is unclear.
            wanted = TransactionStatus.SUCCESS if claimed else TransactionStatus.RETRYING
            attempt.status = advance(attempt.status, wanted)
            if request.delivery is Delivery.DELIVERED:
                return
            if not isinstance(answer, NoAnswer):
                request.response_status = reply.http_status
            if isinstance(answer, Conflict):
                request.conflict = True
            if reply.location is not None:
                request.content_location = storable_text(reply.location)
            if content is not None:
                await store_content(db, request, reply, content)

    async def record_seen(self, attempt_id: UUID, settlement: Settlement, *, final: bool) -> None:
        """The chain has the transfer; see the port.

        Raises:
            IllegalTransition: the attempt is FAILED, the chain shows another transfer than what was recorded, or
                that transaction is booked for another attempt.
        """
        async with self._database.transaction() as db:
            row = await locked_attempt(db, attempt_id)
            _require_same_transfer(row, settlement)
            if row.status is TransactionStatus.VERIFIED:
                return  # older news, or the same again
            row.status = move(row.status, TransactionStatus.VERIFIED if final else TransactionStatus.SUCCESS)
            row.hash = settlement.signature
            row.slot = settlement.slot
            if final:
                row.verification_hash = verification_hash(row.network, settlement)
            try:
                await db.flush()
            except IntegrityError as error:
                raise IllegalTransition(f"{settlement.signature} is booked for another attempt already") from error

    async def record_dead(self, attempt_id: UUID, reason: str) -> None:
        """Proven not settled: its reservation is free again; see the port. The first reason is kept.

        Raises:
            IllegalTransition: the attempt is VERIFIED.
        """
        async with self._database.transaction() as db:
            row = await locked_attempt(db, attempt_id)
            if row.status is TransactionStatus.FAILED:
                return
            row.status = move(row.status, TransactionStatus.FAILED)
            row.error_code = storable_text(reason)
            said = (row.facilitator_response or {}).get("errorReason")
            row.error_type = error_type_of(reason, last_answer=row.last_answer, receipt_error=said and str(said))


async def locked_attempt(db: AsyncSession, attempt_id: UUID) -> TransactionRow:
    """The attempt's row, locked against every other change.

    Raises:
        IllegalTransition: nothing may happen to an attempt that was never recorded.
    """
    row = await db.get(TransactionRow, attempt_id, with_for_update={"key_share": True})
    if row is None or row.attempt_number is None:
        raise IllegalTransition(f"attempt {attempt_id} was never recorded")
    return row


def _with_agent() -> Select[TransactionRow, str]:
    return select(TransactionRow, AgentRow.name).join(AgentRow, AgentRow.id == TransactionRow.agent_id)


def _require_next(request: RequestRow, attempts: list[TransactionRow], number: int) -> None:
    if request.closed_at is not None:
        raise IllegalTransition(f"{request.x402_request_id} has ended, nothing is signed for it")
    alive = [row for row in attempts if row.status is not TransactionStatus.FAILED]
    if alive:
        raise IllegalTransition(
            f"attempt {alive[0].attempt_number} of {request.x402_request_id} is {alive[0].status}, "
            f"attempt {number} must wait until it is proven dead"
        )
    if request.delivery is Delivery.DELIVERED:
        raise IllegalTransition(f"{request.x402_request_id} is delivered, nothing is signed for it again")
    if number != len(attempts) + 1 or number > MAX_ATTEMPTS:
        raise IllegalTransition(f"attempt {number} of {request.x402_request_id} cannot follow {len(attempts)}")


def _require_same(session: SessionRow, request: RequestRow, signed: SignedPayment) -> None:
    pays = (request.agent_id, signed.offer.currency, signed.offer.mint, signed.source_account)
    if (session.agent_id, session.currency, session.mint, session.source_account) != pays:
        raise IllegalTransition(f"{request.x402_request_id} is not for session {session.id} to pay")


async def _insert(
    db: AsyncSession, request: RequestRow, session: SessionRow, number: int, signed: SignedPayment
) -> TransactionRow:
    assert request.x402_request_id is not None
    assert request.url is not None
    offer = signed.offer
    row = TransactionRow(
        id=uuid7(),
        agent_id=request.agent_id,
        session_id=session.id,
        x402_request_id=request.x402_request_id,
        attempt_number=number,
        retry_count=number - 1,
        status=TransactionStatus.PENDING,
        network=offer.network,
        currency=offer.currency,
        amount=to_units(offer.amount_atomic),
        mint=offer.mint,
        pay_to=offer.pay_to,
        x402_version=offer.version,
        authority=session.public_key,
        claims=[],
        sends=0,
        sealed_payment=signed.sealed,
        host=host_and_port(request.url),
        resource=resource_of(request.method.value, request.url),
        **signed.model_dump(exclude={"offer", "sealed", "program"}),
    )
    db.add(row)
    try:
        await db.flush()
    except IntegrityError as error:
        raise IllegalTransition(f"another payment has the bytes of attempt {number}") from error
    request.transaction_id = row.id
    request.price = row.amount
    request.pay_to = row.pay_to
    return row


def _require_same_transfer(row: TransactionRow, settlement: Settlement) -> None:
    recorded = (row.mint, row.destination_account, row.authority, atomic(row.amount))
    shown = (settlement.mint, settlement.destination, settlement.payer, settlement.amount_atomic)
    if recorded != shown:
        raise IllegalTransition(f"attempt {row.id}: the chain shows {shown}, recorded is {recorded}")
    if row.status is TransactionStatus.VERIFIED and row.hash != settlement.signature:
        raise IllegalTransition(f"attempt {row.id} is VERIFIED as {row.hash}, not as {settlement.signature}")
