"""What came back: from the seller (content, receipts: claims), and from the chain (outcomes: facts)."""

import hashlib
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from autopay.adapters.postgres.payments.attempts import locked_attempt
from autopay.adapters.postgres.payments.content import json_payload, receipt_json, storable, storable_text, with_claim
from autopay.adapters.postgres.rows import atomic
from autopay.adapters.postgres.tables.core import RequestRow, TransactionRow
from autopay.adapters.postgres.transaction import Transactional, locked_request
from autopay.domain.agent.breaker import BreakerState
from autopay.domain.errors import IllegalTransition
from autopay.domain.payment.exchange import Receipt, Reply, UnpaidReply
from autopay.domain.payment.payment import Conflict, Content, NoAnswer, SellerAnswer, Settlement
from autopay.domain.payment.status import Delivery, TransactionStatus, advance, error_type_of, move
from autopay.domain.payment.verification import verification_hash


class Answers(Transactional):
    """Replies and outcomes."""

    async def record_plain(self, request_key: str, plain: UnpaidReply) -> None:
        """What the seller said without a payment; see the port."""
        async with self._transaction() as db:
            row = await locked_request(db, request_key)
            if row.delivery is Delivery.DELIVERED:
                return
            row.response_status = plain.reply.http_status
            if plain.breaker is not None:
                row.circuit_breaker_state = BreakerState(plain.breaker)
            if plain.challenge is not None:
                row.x402_instructions = storable(plain.challenge.model_dump(mode="json"))
            elif 200 <= plain.reply.http_status < 300:
                await _store_content(db, row, plain.reply)

    async def record_answer(
        self, attempt_id: UUID, reply: Reply, receipt: Receipt | None, answer: SellerAnswer
    ) -> None:
        """What the seller answered to a payment; see the port. Content that is stored is never overwritten."""
        async with self._transaction() as db:
            attempt = await locked_attempt(db, attempt_id)
            request = await locked_request(db, attempt.x402_request_id)
            attempt.last_answer = answer.kind
            attempt.facilitator_response = receipt_json(reply, receipt) or attempt.facilitator_response
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
            if isinstance(answer, Content):
                await _store_content(db, request, reply)

    async def record_seen(self, attempt_id: UUID, settlement: Settlement, *, final: bool) -> None:
        """The chain has the transfer; see the port.

        Raises:
            IllegalTransition: the attempt is FAILED, the chain shows another transfer than what was recorded, or
                that transaction is booked for another attempt.
        """
        async with self._transaction() as db:
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
        """Proven not settled: its reservation is free again; see the port. The first reason stands.

        Raises:
            IllegalTransition: the attempt is VERIFIED.
        """
        async with self._transaction() as db:
            row = await locked_attempt(db, attempt_id)
            if row.status is TransactionStatus.FAILED:
                return
            row.status = move(row.status, TransactionStatus.FAILED)
            row.error_code = storable_text(reason)
            said = (row.facilitator_response or {}).get("errorReason")
            row.error_type = error_type_of(reason, last_answer=row.last_answer, receipt_error=said and str(said))


async def _store_content(db: AsyncSession, row: RequestRow, reply: Reply) -> None:
    row.answered_at = await db.scalar(select(func.clock_timestamp()))  # first: a query writes what was changed so far
    row.body = reply.body
    row.body_sha256 = hashlib.sha256(reply.body).hexdigest()
    row.content_type = storable_text(reply.content_type) if reply.content_type is not None else None
    row.success_payload = json_payload(reply.content_type, reply.body)
    row.delivery = Delivery.DELIVERED


def _require_same_transfer(row: TransactionRow, settlement: Settlement) -> None:
    recorded = (row.mint, row.destination_account, row.authority, atomic(row.amount))
    shown = (settlement.mint, settlement.destination, settlement.payer, settlement.amount_atomic)
    if recorded != shown:
        raise IllegalTransition(f"attempt {row.id}: the chain shows {shown}, recorded is {recorded}")
    if row.status is TransactionStatus.VERIFIED and row.hash != settlement.signature:
        raise IllegalTransition(f"attempt {row.id} is VERIFIED as {row.hash}, not as {settlement.signature}")
