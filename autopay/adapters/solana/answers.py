"""What a Solana node answers, as far as it is used; everything else in an answer may be of any kind.

A number that nobody needs (`rentEpoch`, rounded beyond 64 bits by some providers) must not make an answer unreadable,
and what is used is never guessed: another type, another encoding or a missing field is an error of the node.
"""

from base64 import b64decode
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator
from pydantic.alias_generators import to_camel
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction

R = TypeVar("R")


def _address(text: str) -> str:
    Pubkey.from_string(text)
    return text


def _signature(text: str) -> str:
    Signature.from_string(text)
    return text


def _decoded(data: Any) -> bytes:
    match data:
        case [str(text), "base64"]:
            return b64decode(text, validate=True)
        case _:
            raise ValueError("not [text, 'base64']")


def _transaction(data: Any) -> VersionedTransaction:
    transaction = VersionedTransaction.from_bytes(_decoded(data))
    if not transaction.signatures:
        raise ValueError("a transaction without a signature")
    return transaction


U64 = Annotated[int, Field(ge=0, lt=2**64)]
Address = Annotated[str, AfterValidator(_address)]
"""32 bytes in base58: an account, and a hash as well."""
SignatureText = Annotated[str, AfterValidator(_signature)]
Base64Data = Annotated[bytes, PlainValidator(_decoded)]
Base64Transaction = Annotated[VersionedTransaction, PlainValidator(_transaction)]


class _Read(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", alias_generator=to_camel)


class Envelope(_Read):
    """What every answer has, beside its result."""

    id: Any = None
    error: Any = None


class Answer(_Read, Generic[R]):
    """The result of one question."""

    result: R


class _Context(_Read):
    slot: U64


class AsOfSlot(_Read, Generic[R]):
    """A value and the slot at which it was read."""

    context: _Context
    value: R


class AccountData(_Read):
    """An account; the owner is the program that it belongs to."""

    owner: Address
    lamports: U64
    data: Base64Data


class OwnedAccount(_Read):
    """An account in a list of accounts."""

    pubkey: Address
    account: AccountData


class LatestBlockhash(_Read):
    """The newest blockhash, and the last block height that accepts it."""

    blockhash: Address
    last_valid_block_height: U64


class EpochInfo(_Read):
    """Slot and block height of one moment."""

    absolute_slot: U64
    block_height: U64


class SignatureStatus(_Read):
    """What became of a transaction; `err` is None when it worked."""

    slot: U64
    err: Any
    confirmation_status: Literal["processed", "confirmed", "finalized"] | None = None


class HistoryRow(_Read):
    """One transaction that names an account; `memo` is the node's text for all its memos."""

    signature: SignatureText
    slot: U64
    err: Any
    memo: str | None = None


class _Meta(_Read):
    err: Any


class TransactionInBlock(_Read):
    """A transaction with its content; `meta` is missing on nodes that did not keep it."""

    slot: U64
    transaction: Base64Transaction
    meta: _Meta | None


class NodeErrorBody(_Read):
    """The error object of JSON-RPC 2.0."""

    code: int
    message: str = ""
    data: Any = None


class WebSocketMessage(_Read):
    """What tells the messages of a WebSocket apart."""

    id: int | None = None
    method: str | None = None
    error: Any = None


class SubscriptionAnswer(_Read):
    """The number of a subscription that began."""

    result: U64


class _AccountOfSubscription(_Read):
    subscription: U64
    result: AsOfSlot[AccountData]


class AccountNotification(_Read):
    """An account that changed."""

    params: _AccountOfSubscription
