"""The rows of attempts: read, locked, and moved to what the chain shows."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from autopay.adapters.postgres.database.rows import atomic
from autopay.adapters.postgres.database.transaction import READ_AGAIN
from autopay.adapters.postgres.tables.core import RequestRow, TransactionRow
from autopay.domain.errors import IllegalTransition
from autopay.domain.payment.payment import Settlement
from autopay.domain.payment.settlement import verification_hash
from autopay.domain.payment.status import TransactionStatus, move


async def attempts_of(db: AsyncSession, request_key: str) -> list[TransactionRow]:
    """The request's recorded attempts, oldest first."""
    rows = await db.scalars(
        select(TransactionRow)
        .where(TransactionRow.x402_request_id == request_key, TransactionRow.attempt_number.is_not(None))
        .order_by(TransactionRow.attempt_number)
    )
    return list(rows)


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

    Raises:
        IllegalTransition: nothing may happen to an attempt that was never recorded.
    """
    query = (
        select(TransactionRow, RequestRow)
        .join(RequestRow, RequestRow.x402_request_id == TransactionRow.x402_request_id)
        .where(TransactionRow.id == attempt_id, TransactionRow.attempt_number.is_not(None))
        .with_for_update(of=[TransactionRow, RequestRow], key_share=True)
        .execution_options(**READ_AGAIN)
    )
    found = (await db.execute(query)).one_or_none()
    if found is None:
        raise IllegalTransition(f"attempt {attempt_id} was never recorded")
    return found[0], found[1]


async def book_transfer(db: AsyncSession, row: TransactionRow, settlement: Settlement, *, final: bool) -> None:
    """The chain has the transfer of this attempt, whose row is locked.

    Raises:
        IllegalTransition: the attempt is FAILED, the chain shows another transfer than what was recorded, or that
            transaction is booked for another attempt.
    """
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


def _require_same_transfer(row: TransactionRow, settlement: Settlement) -> None:
    recorded = (row.mint, row.destination_account, row.authority, atomic(row.amount))
    shown = (settlement.mint, settlement.destination, settlement.payer, settlement.amount_atomic)
    if recorded != shown:
        raise IllegalTransition(f"attempt {row.id}: the chain shows {shown}, recorded is {recorded}")
    if row.status is TransactionStatus.VERIFIED and row.hash != settlement.signature:
        raise IllegalTransition(f"attempt {row.id} is VERIFIED as {row.hash}, not as {settlement.signature}")
