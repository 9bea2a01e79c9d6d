"""The parameters of JSON-RPC methods: types that read themselves, and configuration objects."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, InstanceOf, model_validator
from pydantic.alias_generators import to_camel
from solders.hash import Hash
from solders.pubkey import Pubkey
from solders.signature import Signature

from localnet.chain.blocks import Commitment
from localnet.chain.errors import INVALID_REQUEST, RpcError, invalid_param

_U64 = 2**64


def _parse(kind: Any) -> BeforeValidator:
    def parse(value: object) -> object:
        if not isinstance(value, str):
            raise ValueError(f"{kind.__name__} must be a string")  # noqa: TRY004 (pydantic wants a ValueError)
        try:
            return kind.from_string(value)
        except Exception as error:
            raise ValueError(f"{kind.__name__}: {error}") from error

    return BeforeValidator(parse)


Address = Annotated[InstanceOf[Pubkey], _parse(Pubkey)]
BlockHash = Annotated[InstanceOf[Hash], _parse(Hash)]
Sig = Annotated[InstanceOf[Signature], _parse(Signature)]
U64 = Annotated[int, Field(ge=0, lt=_U64, strict=True)]
Encoding = Literal["binary", "base58", "base64", "jsonParsed"]  # "binary" is base58 without saying so
WireEncoding = Literal["base58", "base64"]


class Config(BaseModel):
    """A configuration object; unknown fields are ignored and null ones count as left out, as on a cluster."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True, extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        return {name: each for name, each in given.items() if each is not None} if isinstance(given, dict) else given


class ReadConfig(Config):
    """How fresh and how sure a reader wants to be."""

    commitment: Commitment = Commitment.FINALIZED
    min_context_slot: U64 | None = None


class DataSlice(Config):
    """A part of an account's data, in bytes."""

    offset: U64
    length: U64


class AccountConfig(ReadConfig):
    """How to show accounts; "base64+zstd" is not offered."""

    encoding: Encoding = "binary"
    data_slice: DataSlice | None = None


class ManyAccountsConfig(AccountConfig):
    """The same for several accounts at once, where a cluster's default is another."""

    encoding: Encoding = "base64"


class TokenFilter(Config):
    """Which token accounts to list: those of a mint, or all of a token program."""

    mint: Address | None = None
    program_id: Address | None = None


class StatusConfig(Config):
    """Whether to look beyond the recent status cache."""

    search_transaction_history: bool = False


class SignaturesConfig(ReadConfig):
    """A page of an address's signatures; `limit` of 1 to 1000."""

    before: Sig | None = None
    until: Sig | None = None
    limit: int = 1000


class TransactionConfig(Config):
    """How to show a transaction; a plain string stands for its encoding."""

    commitment: Commitment = Commitment.FINALIZED
    encoding: Literal["json", "jsonParsed", "base58", "base64"] = "json"
    max_supported_transaction_version: int | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_encoding(cls, given: Any) -> Any:
        return {"encoding": given} if isinstance(given, str) else given


class SignatureWatchConfig(Config):
    """When to tell of a transaction; with `enable_received_notification` also as soon as the node has it."""

    commitment: Commitment = Commitment.FINALIZED
    enable_received_notification: bool = False


class SendConfig(Config):
    """How to send; `max_retries` has no meaning here, as nothing gets lost on the way to a leader."""

    encoding: WireEncoding = "base58"
    skip_preflight: bool = False
    preflight_commitment: Commitment = Commitment.FINALIZED
    min_context_slot: U64 | None = None


class SimulatedAccounts(Config):
    """Which accounts to show as the simulation leaves them."""

    addresses: list[Address]
    encoding: Literal["base58", "base64", "jsonParsed"] = "base64"


class SimulateConfig(ReadConfig):
    """How to simulate."""

    encoding: WireEncoding = "base58"
    sig_verify: bool = False
    replace_recent_blockhash: bool = False
    inner_instructions: bool = False
    accounts: SimulatedAccounts | None = None


def at_least_confirmed(commitment: Commitment) -> None:
    """Refuse `processed` for the methods that read the ledger."""
    if commitment is Commitment.PROCESSED:
        raise invalid_param("Method does not support commitment below `confirmed`")


def at_most(limit: int, count: int) -> None:
    """Refuse a list that is too long."""
    if count > limit:
        raise invalid_param(f"Too many inputs provided; max {limit}")


def not_for_base58() -> RpcError:
    """Account data too long for base58."""
    text = "Encoded binary (base 58) data should be less than 128 bytes, please use Base64 encoding."
    return RpcError(INVALID_REQUEST, text)
