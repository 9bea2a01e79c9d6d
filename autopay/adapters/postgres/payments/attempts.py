"""The rows of attempts: read, locked, and moved to what the chain shows."""

from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from autopay.adapters.postgres.database.direct import one_row, split
from autopay.adapters.postgres.database.rows import atomic
from autopay.adapters.postgres.database.writes import Write, write
from autopay.adapters.postgres.tables.core import RequestRow, TransactionRow
from autopay.domain.errors import IllegalTransition
from autopay.domain.payment.payment import Settlement
from autopay.domain.payment.settlement import verification_hash
from autopay.domain.payment.status import TransactionStatus, move

_ATTEMPTS = (
    select(TransactionRow)
    .where(TransactionRow.x402_request_id == bindparam("request_key"), TransactionRow.attempt_number.is_not(None))
    .order_by(TransactionRow.attempt_number)
)

_ATTEMPT = (
    TransactionRow.id,
    TransactionRow.status,
    TransactionRow.network,
    TransactionRow.mint,
    TransactionRow.amount,
    TransactionRow.authority,
    TransactionRow.destination_account,
    TransactionRow.hash,
    TransactionRow.slot,
    TransactionRow.claims,
    TransactionRow.last_answer,
    TransactionRow.facilitator_response,
)
_REQUEST = (
    RequestRow.id,
    RequestRow.x402_request_id,
    RequestRow.delivery,
    RequestRow.closed_at,
    RequestRow.response_status,
    RequestRow.conflict,
    RequestRow.content_location,
)
_LOCKED = (
    select(*_ATTEMPT, *_REQUEST)
    .join_from(TransactionRow, RequestRow, RequestRow.x402_request_id == TransactionRow.x402_request_id)
    .where(TransactionRow.id == bindparam("attempt_id"), TransactionRow.attempt_number.is_not(None))
    .with_for_update(of=[TransactionRow, RequestRow], key_share=True)
)


async def attempts_of(db: AsyncSession, request_key: str) -> list[TransactionRow]:
    """The request's recorded attempts, oldest first."""
    return list(await db.scalars(_ATTEMPTS, {"request_key": request_key}))


async def locked_attempt(db: AsyncSession, attempt_id: UUID) -> TransactionRow:
    """The attempt's row, locked against every other change.

    Raises:
        IllegalTransition: nothing may happen to an attempt that was never recorded.
    """
    row = await db.get(TransactionRow, attempt_id, with_for_update={"key_share": True})
    if row is None or row.attempt_number is None:
        raise IllegalTransition(f"attempt {attempt_id} was never recorded")
    return row


async def locked_attempt_and_request(db: AsyncSession, attempt_id: UUID) -> tuple[TransactionRow, RequestRow]:
    """The attempt's row and its request's, locked in this order against every other change.

    They have only what an answer or an end is held against: no other column, and are no ORM objects.

    Raises:
        IllegalTransition: nothing may happen to an attempt that was never recorded.
    """
    found = await one_row(db, _LOCKED, {"attempt_id": attempt_id})
    if found is None:
        raise IllegalTransition(f"attempt {attempt_id} was never recorded")
    attempt, request = split(found, _ATTEMPT, _REQUEST)
    return attempt, request


def booking(row: TransactionRow, settlement: Settlement, *, final: bool) -> dict[str, Any]:
    """What changes in the row of an attempt whose transfer the chain has; nothing when it was booked before.

    Raises:
        IllegalTransition: the attempt is FAILED, or the chain shows another transfer than what was recorded.
    """
    _require_same_transfer(row, settlement)
    if row.status is TransactionStatus.VERIFIED:
        return {}  # older news, or the same again
    values = {
        "status": move(row.status, TransactionStatus.VERIFIED if final else TransactionStatus.SUCCESS),
        "hash": settlement.signature,
        "slot": settlement.slot,
    }
    if final:
        values["verification_hash"] = verification_hash(row.network, settlement)
    return values


async def write_booking(db: AsyncSession, booked: Write, *others: Write) -> None:
    """Write what `booking` says, and what goes with it.

    Raises:
        IllegalTransition: that transaction is booked for another attempt.
    """
    try:
        await write(db, booked, *others)
    except IntegrityError as error:
        raise IllegalTransition(f"{booked.values.get('hash')} is booked for another attempt already") from error


def _require_same_transfer(row: TransactionRow, settlement: Settlement) -> None:
    recorded = (row.mint, row.destination_account, row.authority, atomic(row.amount))
    shown = (settlement.mint, settlement.destination, settlement.payer, settlement.amount_atomic)
    if recorded != shown:
        raise IllegalTransition(f"attempt {row.id}: the chain shows {shown}, recorded is {recorded}")
    if row.status is TransactionStatus.VERIFIED and row.hash != settlement.signature:
        raise IllegalTransition(f"attempt {row.id} is VERIFIED as {row.hash}, not as {settlement.signature}")
