"""Payments: attempts that are recorded whole before anything leaves, answers (claims) and outcomes (facts)."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select, update

from autopay.adapters.postgres.database.notifier import LATER_S
from autopay.adapters.postgres.database.rows import payment, recorded_attempt
from autopay.adapters.postgres.database.transaction import Database, agent_named, request_and_agent
from autopay.adapters.postgres.database.writes import changed, differing, write
from autopay.adapters.postgres.payments.attempts import (
    attempts_of,
    booking,
    locked_attempt,
    locked_attempt_and_request,
    write_booking,
)
from autopay.adapters.postgres.payments.content import prepared, receipt_json, storable_text
from autopay.adapters.postgres.payments.fence import require_no_fence
from autopay.adapters.postgres.payments.forgotten import paid_before
from autopay.adapters.postgres.payments.policy_check import ask_person, check_policy, terms_of
from autopay.adapters.postgres.payments.requests import content_values, take_from_queue
from autopay.adapters.postgres.payments.reservation import reserve
from autopay.adapters.postgres.tables.core import AgentRow, RequestRow, TransactionRow
from autopay.domain.errors import IllegalTransition, LedgerFenced
from autopay.domain.payment.attempt import NO_CONTEXT, RecordedAttempt, SignedPayment, SigningContext
from autopay.domain.payment.exchange import Reply, claims_settlement, with_claim
from autopay.domain.payment.offer import Offer
from autopay.domain.payment.payment import Conflict, Content, NoAnswer, Payment, SellerAnswer, Settlement
from autopay.domain.payment.status import OPEN, Delivery, TransactionStatus, advance, error_type_of, move
from autopay.domain.payment.steps import PaidBefore
from autopay.domain.policy.policy import Ask, Awaiting
from autopay.domain.refusal import Refused

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
            terms = terms_of(request, offer, program)
            check = await check_policy(db, request, await agent_named(db, name), terms)
            if isinstance(check.verdict, Ask):
                await take_from_queue(db, request)
                return await ask_person(db, request, check)
            return check.verdict if isinstance(check.verdict, Refused) else None

    async def record_attempt(
        self,
        request_key: str,
        number: int,
        session_id: UUID,
        signed: SignedPayment,
        context: SigningContext = NO_CONTEXT,
    ) -> RecordedAttempt | PaidBefore | Awaiting | Refused:
        """Write-ahead: reserve the money and record the payment, in one transaction; see the port.

        Raises:
            IllegalTransition: an earlier attempt is not proven dead, the request has ended or is delivered, the
                session is not the agent's, or another payment has the same bytes.
            LedgerFenced: the ledger may have forgotten payments.
            OrderDiffers: a first run pays for another request than was recorded.
        """
        async with self._database.transaction(notify_within_s=LATER_S) as db:
            result = await reserve(db, request_key, number, session_id, signed, context)
        if isinstance(result, str):
            raise LedgerFenced(result)
        return result

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
            attempt, request = await locked_attempt_and_request(db, attempt_id)
            # A claim of success moves the status, as the chain will confirm or deny it; all else is unclear.
            wanted = TransactionStatus.SUCCESS if claims_settlement(receipt) else TransactionStatus.RETRYING
            of_attempt = {
                "last_answer": answer.kind,
                "facilitator_response": receipt_json(receipt) or attempt.facilitator_response,
                "claims": list(with_claim(tuple(attempt.claims), receipt)),
                "status": advance(attempt.status, wanted),
            }
            of_request: dict[str, Any] = {}
            if request.delivery is not Delivery.DELIVERED:
                of_request = differing(request, _answered(reply, answer))
                if content is not None:
                    of_request |= content_values(reply, content)
            await write(
                db,
                changed(TransactionRow, differing(attempt, of_attempt), id=attempt.id),
                changed(RequestRow, of_request, id=request.id),
            )

    async def record_seen(self, attempt_id: UUID, settlement: Settlement, *, final: bool) -> None:
        """The chain has the transfer; see the port.

        Raises:
            IllegalTransition: the attempt is FAILED, the chain shows another transfer than what was recorded, or
                that transaction is booked for another attempt.
        """
        async with self._database.transaction() as db:
            values = booking(await locked_attempt(db, attempt_id), settlement, final=final)
            await write_booking(db, changed(TransactionRow, values, id=attempt_id))

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


def _answered(reply: Reply, answer: SellerAnswer) -> dict[str, Any]:
    """What an answer says of its request, apart from the content."""
    values: dict[str, Any] = {}
    if not isinstance(answer, NoAnswer):
        values["response_status"] = reply.http_status
    if isinstance(answer, Conflict):
        values["conflict"] = True
    if reply.location is not None:
        values["content_location"] = storable_text(reply.location)
    return values


def _with_agent() -> Select[TransactionRow, str]:
    return select(TransactionRow, AgentRow.name).join(AgentRow, AgentRow.id == TransactionRow.agent_id)
