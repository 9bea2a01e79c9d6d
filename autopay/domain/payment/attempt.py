"""What is known of one signed payment: what the ledger recorded of it, and what the chain shows."""

from typing import Literal
from uuid import UUID

from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.payment.offer import Offer
from autopay.domain.session import SessionKey
from autopay.domain.values import Value


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


class RecordedAttempt(Value):
    """An attempt as the ledger has it: everything that the chain can be asked about it.

    `claims` are the signatures that receipts named so far, in order; the seller said so, nobody checked yet.
    `status` is the ledger's, `sealed` the payment to hand over.
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
    status: str = "PENDING"
    sealed: str


class Transfer(Value):
    """A TransferChecked as a transaction carries it; amounts in base units."""

    source: str
    mint: str
    destination: str
    authority: str
    amount_atomic: int


class Landed(Value):
    """A transaction that is in a block; `failed` when it had no effect but its fee, `final` at finalized."""

    signature: str
    slot: int
    failed: bool
    final: bool
    message_hash: str
    signatures: tuple[str, ...]
    transfers: tuple[Transfer, ...]


class Sighting(Value):
    """One row of an account's history; `memos` is the node's text for all memos of the transaction, if it has one."""

    signature: str
    slot: int
    failed: bool
    memos: str | None


class Blockhash(Value):
    """A recent blockhash at confirmed, the slot of the reading, and the last block height that accepts it."""

    blockhash: str
    slot: int
    last_valid_block_height: int


class Tip(Value):
    """Where finality stands on one node. Slot and height are different numbers: slots can be empty."""

    slot: int
    block_height: int


class MintFacts(Value):
    """What the mint account says; `problem` names what makes it unusable (a fee, a hook, a pause), if anything."""

    mint: str
    program: str
    decimals: int
    problem: str | None = None


class TokenAccount(Value):
    """A token account as of `slot`; a delegate whose allowance reached 0 is gone (SPL Token)."""

    address: str
    owner: str
    mint: str
    amount_atomic: int
    delegate: str | None
    delegated_atomic: int
    slot: int


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
