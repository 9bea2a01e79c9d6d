"""Compares what the chain shows with what the ledger booked, transfer by transfer. Pure.

Ours are the transfers out of a session's source account that its session key authorised; owners move their own money
as they like. A transfer and an attempt belong together when the message is the same (its hash: a message lands at
most once), else when the transaction is.

What must not live here: walking the chain (reconcile_run.py), and the totals (reconcile_report.py).
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Literal
from uuid import UUID

from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.payment.chain import Transfer
from autopay.domain.payment.payment import Settlement
from autopay.domain.payment.verification import verification_hash
from autopay.domain.values import Value


class Finding(StrEnum):
    """What is wrong, or open, about a transfer or a booking."""

    UNKNOWN_TO_LEDGER = "unknown_to_ledger"  # our key signed it, no attempt has these bytes
    BOOKED_AS_FAILED = "booked_as_failed"  # the money went, the ledger says it did not
    MESSAGE_DIFFERS = "message_differs"
    SIGNATURE_DIFFERS = "signature_differs"
    SLOT_DIFFERS = "slot_differs"
    SOURCE_DIFFERS = "source_differs"
    AUTHORITY_DIFFERS = "authority_differs"
    DESTINATION_DIFFERS = "destination_differs"
    MINT_DIFFERS = "mint_differs"
    CURRENCY_DIFFERS = "currency_differs"
    AMOUNT_DIFFERS = "amount_differs"
    VERIFICATION_HASH_DIFFERS = "verification_hash_differs"
    NOT_ON_CHAIN = "not_on_chain"  # booked as settled, and the source account's history does not have it
    OLDER_THAN_NODE = "older_than_the_node"  # the same, but the node no longer holds that slot
    NO_SESSION = "no_session"  # booked as settled, for no session whose account could be walked
    NO_SLOT = "no_slot"  # VERIFIED without the slot that proves it
    OPEN_ON_CHAIN = "open_on_chain"  # landed, not booked yet: its workflow will
    CLAIMED_ONLY = "claimed_only"  # SUCCESS by the seller's receipt alone
    NOT_FINAL_YET = "not_final_yet"  # booked at confirmed, newer than the slot compared up to


UNRESOLVED = frozenset({Finding.OPEN_ON_CHAIN, Finding.CLAIMED_ONLY, Finding.NOT_FINAL_YET})
"""These are no mismatch: payments that are under way."""


class Payer(Value):
    """A session as the chain knows it: who authorises, and out of which account."""

    session_id: UUID
    agent: str
    currency: Currency
    source_account: str
    authority: str


class ChainTransfer(Value):
    """A transfer of ours, with the transaction that made it."""

    signature: str
    slot: int
    message_hash: str
    currency: Currency
    transfer: Transfer


class BookedAttempt(Value):
    """An attempt as far as the chain can confirm or deny it; of before the write-ahead, it may lack anything."""

    attempt_id: UUID
    agent: str
    request_id: str | None
    number: int | None
    network: Network
    status: Literal["PENDING", "SUCCESS", "FAILED", "RETRYING", "VERIFIED"]
    currency: Currency
    amount_atomic: int
    mint: str | None
    source_account: str | None
    destination_account: str | None
    authority: str | None
    message_hash: str | None
    signature: str | None
    slot: int | None
    verification_hash: str | None

    @property
    def is_booked(self) -> bool:
        """The ledger says that the chain has it; a receipt alone (SUCCESS without a slot) does not say so."""
        return self.status == "VERIFIED" or (self.status == "SUCCESS" and self.slot is not None)


class Line(Value):
    """One transfer with its attempt, or either alone; `finding` is None when all is well."""

    finding: Finding | None
    agent: str
    currency: Currency
    transfer: ChainTransfer | None = None
    attempt: BookedAttempt | None = None

    @property
    def slot(self) -> int:
        """Where it happened, as the chain says, else as the ledger does."""
        if self.transfer is not None:
            return self.transfer.slot
        return self.attempt.slot or 0 if self.attempt is not None else 0


def judge(transfer: ChainTransfer, attempt: BookedAttempt | None) -> Finding | None:
    """What is wrong with the booking of this transfer, the weightiest first; None when nothing is."""
    if attempt is None:
        return Finding.UNKNOWN_TO_LEDGER
    if attempt.status == "FAILED":
        return Finding.BOOKED_AS_FAILED
    moved = transfer.transfer
    for finding, booked, shown in (
        (Finding.MESSAGE_DIFFERS, attempt.message_hash, transfer.message_hash),
        (Finding.SOURCE_DIFFERS, attempt.source_account, moved.source),
        (Finding.AUTHORITY_DIFFERS, attempt.authority, moved.authority),
        (Finding.DESTINATION_DIFFERS, attempt.destination_account, moved.destination),
        (Finding.MINT_DIFFERS, attempt.mint, moved.mint),
        (Finding.CURRENCY_DIFFERS, attempt.currency, transfer.currency),
        (Finding.AMOUNT_DIFFERS, attempt.amount_atomic, moved.amount_atomic),
    ):
        if booked != shown:
            return finding
    if not attempt.is_booked:
        return Finding.OPEN_ON_CHAIN
    if attempt.signature != transfer.signature:
        return Finding.SIGNATURE_DIFFERS
    if attempt.slot != transfer.slot:
        return Finding.SLOT_DIFFERS
    proven = attempt.status != "VERIFIED" or attempt.verification_hash == _proof(transfer, attempt.network)
    return None if proven else Finding.VERIFICATION_HASH_DIFFERS


def compare(
    payer: Payer,
    transfers: Sequence[ChainTransfer],
    attempts: Iterable[BookedAttempt],
    *,
    above_slot: int,
    up_to_slot: int,
    first_held_slot: int = 0,
) -> list[Line]:
    """A session's slots `above_slot` < slot ≤ `up_to_slot`: each transfer there, then each booking without one.

    Args:
        transfers: all of ours in those slots, finalized.
        attempts: the session's bookings in those slots, and all that share a message or a transaction with one of
            the transfers.
        first_held_slot: the oldest slot that the node still holds.
    """
    left = {attempt.attempt_id: attempt for attempt in attempts}
    by_message = {attempt.message_hash: attempt for attempt in left.values() if attempt.message_hash}
    by_signature = {attempt.signature: attempt for attempt in left.values() if attempt.signature}
    lines = []
    for transfer in transfers:
        found = by_message.get(transfer.message_hash) or by_signature.get(transfer.signature)
        attempt = left.pop(found.attempt_id, None) if found is not None else None  # one transfer an attempt
        lines.append(_line(payer, judge(transfer, attempt), transfer=transfer, attempt=attempt))
    for attempt in left.values():
        if attempt.is_booked and attempt.slot is not None and above_slot < attempt.slot <= up_to_slot:
            gone = Finding.OLDER_THAN_NODE if attempt.slot < first_held_slot else Finding.NOT_ON_CHAIN
            lines.append(_line(payer, gone, attempt=attempt))
    return lines


def _line(
    payer: Payer,
    finding: Finding | None,
    *,
    transfer: ChainTransfer | None = None,
    attempt: BookedAttempt | None = None,
) -> Line:
    return Line(finding=finding, agent=payer.agent, currency=payer.currency, transfer=transfer, attempt=attempt)


def _proof(transfer: ChainTransfer, network: Network) -> str:
    moved = transfer.transfer
    settlement = Settlement(
        signature=transfer.signature,
        slot=transfer.slot,
        payer=moved.authority,
        destination=moved.destination,
        mint=moved.mint,
        amount_atomic=moved.amount_atomic,
    )
    return verification_hash(network, settlement)
