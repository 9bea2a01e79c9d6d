"""Compares the transfers on chain with the ledger's attempts, one by one.

Compared are transfers out of a session's source account that its session key authorised; owners move their own money
as they like. A transfer and an attempt belong together when the message is the same (its hash: a message lands at
most once), else when the transaction is.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Literal
from uuid import UUID

from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.payment.chain import Transfer
from autopay.domain.payment.payment import Settlement
from autopay.domain.payment.settlement import verification_hash
from autopay.domain.values import Value


class ReconcileFinding(StrEnum):
    """What is wrong with a transfer or a booked attempt, or still unresolved."""

    UNKNOWN_TO_LEDGER = "unknown_to_ledger"  # a session key signed it, and no attempt has its message
    BOOKED_AS_FAILED = "booked_as_failed"  # the money moved, and the attempt is FAILED
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
    NOT_ON_CHAIN = "not_on_chain"  # booked as settled, and not in the source account's history
    OLDER_THAN_NODE = "older_than_the_node"  # the same, and the node no longer holds that slot
    NO_SESSION = "no_session"  # booked as settled, without a session whose account could be read
    NO_SLOT = "no_slot"  # VERIFIED without a slot
    OPEN_ON_CHAIN = "open_on_chain"  # landed, not booked yet: its workflow will do that
    CLAIMED_ONLY = "claimed_only"  # SUCCESS by the seller's receipt alone
    NOT_FINAL_YET = "not_final_yet"  # booked at confirmed, above the slot that is compared up to


UNRESOLVED = frozenset({ReconcileFinding.OPEN_ON_CHAIN, ReconcileFinding.CLAIMED_ONLY, ReconcileFinding.NOT_FINAL_YET})
"""Payments under way: no mismatch."""


class Payer(Value):
    """A session as the chain knows it: `authority` (its key) moves money out of `source_account`."""

    session_id: UUID
    agent: str
    currency: Currency
    source_account: str
    authority: str


class ChainTransfer(Value):
    """A transfer by a session key, with the transaction that made it."""

    signature: str
    slot: int
    message_hash: str
    currency: Currency
    transfer: Transfer


class BookedAttempt(Value):
    """What of an attempt can be compared with the chain; attempts of old versions may lack any of it."""

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
        """Whether the ledger says that it is on chain; a seller's receipt alone (SUCCESS without a slot) does not."""
        return self.status == "VERIFIED" or (self.status == "SUCCESS" and self.slot is not None)


class ComparedTransfer(Value):
    """A transfer with its attempt, or either alone; `finding` is None when both agree."""

    finding: ReconcileFinding | None
    agent: str
    currency: Currency
    transfer: ChainTransfer | None = None
    attempt: BookedAttempt | None = None

    @property
    def slot(self) -> int:
        """The slot of the transfer, else the one that the attempt has, else 0."""
        if self.transfer is not None:
            return self.transfer.slot
        return self.attempt.slot or 0 if self.attempt is not None else 0


def judge(transfer: ChainTransfer, attempt: BookedAttempt | None) -> ReconcileFinding | None:
    """The first thing that differs between a transfer and its attempt; None when they agree."""
    if attempt is None:
        return ReconcileFinding.UNKNOWN_TO_LEDGER
    if attempt.status == "FAILED":
        return ReconcileFinding.BOOKED_AS_FAILED
    moved = transfer.transfer
    for finding, booked, shown in (
        (ReconcileFinding.MESSAGE_DIFFERS, attempt.message_hash, transfer.message_hash),
        (ReconcileFinding.SOURCE_DIFFERS, attempt.source_account, moved.source),
        (ReconcileFinding.AUTHORITY_DIFFERS, attempt.authority, moved.authority),
        (ReconcileFinding.DESTINATION_DIFFERS, attempt.destination_account, moved.destination),
        (ReconcileFinding.MINT_DIFFERS, attempt.mint, moved.mint),
        (ReconcileFinding.CURRENCY_DIFFERS, attempt.currency, transfer.currency),
        (ReconcileFinding.AMOUNT_DIFFERS, attempt.amount_atomic, moved.amount_atomic),
    ):
        if booked != shown:
            return finding
    if not attempt.is_booked:
        return ReconcileFinding.OPEN_ON_CHAIN
    if attempt.signature != transfer.signature:
        return ReconcileFinding.SIGNATURE_DIFFERS
    if attempt.slot != transfer.slot:
        return ReconcileFinding.SLOT_DIFFERS
    proven = attempt.status != "VERIFIED" or attempt.verification_hash == _expected_hash(transfer, attempt.network)
    return None if proven else ReconcileFinding.VERIFICATION_HASH_DIFFERS


def compare(
    payer: Payer,
    transfers: Sequence[ChainTransfer],
    attempts: Iterable[BookedAttempt],
    *,
    above_slot: int,
    up_to_slot: int,
    first_held_slot: int = 0,
) -> list[ComparedTransfer]:
    """Compare one session in the slots `above_slot` < slot ≤ `up_to_slot`: its transfers, then attempts without one.

    Args:
        transfers: every finalized transfer by the session key in those slots.
        attempts: the session's booked attempts in those slots, and every attempt that has the message or the
            signature of one of the transfers.
        first_held_slot: the oldest slot that the node still holds.
    """
    unmatched = {attempt.attempt_id: attempt for attempt in attempts}
    by_message = {attempt.message_hash: attempt for attempt in unmatched.values() if attempt.message_hash}
    by_signature = {attempt.signature: attempt for attempt in unmatched.values() if attempt.signature}
    compared = []
    for transfer in transfers:
        found = by_message.get(transfer.message_hash) or by_signature.get(transfer.signature)
        attempt = unmatched.pop(found.attempt_id, None) if found is not None else None  # an attempt has one transfer
        compared.append(_compared(payer, judge(transfer, attempt), transfer=transfer, attempt=attempt))
    for attempt in unmatched.values():
        if attempt.is_booked and attempt.slot is not None and above_slot < attempt.slot <= up_to_slot:
            missing = (
                ReconcileFinding.OLDER_THAN_NODE if attempt.slot < first_held_slot else ReconcileFinding.NOT_ON_CHAIN
            )
            compared.append(_compared(payer, missing, attempt=attempt))
    return compared


def _compared(
    payer: Payer,
    finding: ReconcileFinding | None,
    *,
    transfer: ChainTransfer | None = None,
    attempt: BookedAttempt | None = None,
) -> ComparedTransfer:
    return ComparedTransfer(
        finding=finding, agent=payer.agent, currency=payer.currency, transfer=transfer, attempt=attempt
    )


def _expected_hash(transfer: ChainTransfer, network: Network) -> str:
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
