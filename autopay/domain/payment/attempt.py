"""One payment on its way: what it is built from, signed but not yet recorded, and recorded in the ledger."""

from typing import Literal
from uuid import UUID

from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.payment.chain import Blockhash, MintFacts
from autopay.domain.payment.offer import Challenge, Offer
from autopay.domain.payment.status import TransactionStatus
from autopay.domain.session import SessionKey
from autopay.domain.values import Value


class UnsignedPayment(Value):
    """All that a payment is built from; what was decided, and what the chain says about the accounts."""

    agent: str
    request_key: str
    number: int
    offer: Offer
    session: SessionKey
    mint: MintFacts
    blockhash: Blockhash
    newest_prior_signature: str | None


class SignedPayment(Value):
    """A payment that was built and signed and is not yet recorded. `sealed` is all that may be stored of it.

    `message_hash` is SHA-256 over the versioned message, hex; `buyer_signature` ours over the same, base58.
    `blockhash_slot` is the slot at which the blockhash was read, `program` the token program that moves the mint.
    """

    offer: Offer
    program: str
    memo: str
    message_hash: str
    buyer_signature: str
    blockhash: str
    blockhash_slot: int
    last_valid_block_height: int
    source_account: str
    destination_account: str
    newest_prior_signature: str | None
    sealed: str


class Opening(Value):
    """What the first run of a request knows and the ledger does not: it read nothing and recorded nothing so far.

    `terms_hash` is of the request that it pays for, `challenge` and `breaker` are recorded with its first attempt.
    """

    terms_hash: str
    challenge: Challenge | None
    breaker: str | None


class SigningContext(Value):
    """What was known when a payment was signed; the ledger holds it against its own rows when it records the payment.

    `memos` are those that any attempt of the request can have: a payment that is booked with one says that it was paid
    before. `delegated_atomic` is what the chain still allowed the session, in base units. `handed_over_next`: the bytes
    leave at once, and this first send is counted with the recording.
    """

    memos: tuple[str, ...] = ()
    delegated_atomic: int | None = None
    opening: Opening | None = None
    handed_over_next: bool = False


NO_CONTEXT = SigningContext()


class RecordedAttempt(Value):
    """An attempt as the ledger has it: everything that the chain can be asked about it.

    `claims` are the signatures that receipts named so far, in order; the seller said so, nobody checked yet.
    `status` is the ledger's, `sealed` the payment to hand over. `is_new`: it was recorded by the call that returns it.
    """

    attempt_id: UUID
    session_id: UUID
    agent: str
    request_key: str
    number: int
    network: Network
    currency: Currency
    mint: str
    amount_atomic: int
    pay_to: str
    source_account: str
    destination_account: str
    authority: str
    memo: str
    message_hash: str
    buyer_signature: str
    blockhash: str
    blockhash_slot: int
    last_valid_block_height: int
    newest_prior_signature: str | None
    version: Literal[1, 2]
    claims: tuple[str, ...] = ()
    status: TransactionStatus = TransactionStatus.PENDING
    sealed: str
    is_new: bool = False
