"""What the owner of a wallet signs: the message is built, signed here or in any wallet, checked, sent and confirmed.

The owner is the only signer and pays the fee, so its signature is the transaction's id. What must not live here:
what the message does, and the ledger.
"""

import asyncio
import time
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from autopay.adapters.solana.answers import U64, Answer, SignatureText
from autopay.adapters.solana.chain import SolanaChain
from autopay.adapters.solana.owner.wallet_changes import why_not_the_same
from autopay.adapters.solana.rpc import NodeError, NodeRpc
from autopay.domain.errors import PermanentFault, TransientFault
from autopay.domain.session import OwnerTransaction

FIRST_POLL_S, LAST_POLL_S = 0.05, 1.0
PATIENCE_S = 120
"""For a node that neither shows the transaction nor the blocks in which it could have landed."""

PREFLIGHT_FAILURE = -32002
"""JSON-RPC error code of Solana nodes for what they refuse to send on (rpc-client-api, custom_error.rs)."""

MOST_WIRE_BYTES = 1232
"""What fits into one packet of a Solana node: an IPv6 minimum MTU without its headers."""

VERSION_0 = 0x80
"""The first byte of every versioned message of version 0."""


class OwnerRefused(PermanentFault):
    """The owner's transaction was refused."""


class OwnerTooLate(PermanentFault):
    """What the owner signed can land no more: its blockhash has expired."""


class OwnerSignatureWrong(PermanentFault):
    """This is not what the owner was asked to sign."""


class OwnerUnknown(TransientFault):
    """It is not known whether the owner's transaction landed."""


class PreflightData(BaseModel):
    """What a node says of a transaction that it refused to send on."""

    model_config = ConfigDict(extra="ignore")

    err: Any = None
    logs: list[str] | None = None


class OwnerNode:
    """A Solana node that takes owners' transactions; `chain` is what it shows."""

    def __init__(self, rpc: NodeRpc) -> None:
        self._rpc = rpc
        self.chain = SolanaChain(rpc)

    async def raw_account(self, address: Pubkey) -> tuple[Pubkey, bytes, int] | None:
        """The account's program, data and lamports at confirmed; None when there is none."""
        account = (await self.chain.account(str(address))).value
        return None if account is None else (Pubkey.from_string(account.owner), account.data, account.lamports)

    async def rent(self, size: int) -> int:
        """Lamports that an account of that size must hold."""
        return await self._rpc.ask("getMinimumBalanceForRentExemption", size, answer=Answer[U64])

    async def block_height(self) -> int:
        """At confirmed."""
        return await self._rpc.ask("getBlockHeight", {"commitment": "confirmed"}, answer=Answer[U64])

    async def draft(
        self, owner: Pubkey, steps: Sequence[Instruction], does: Literal["grant", "revoke"], rent_lamports: int = 0
    ) -> OwnerTransaction:
        """The message that the owner is to sign, with a blockhash of now; `rent_lamports` is what it lends."""
        latest = await self.chain.latest_blockhash()
        message = MessageV0.try_compile(owner, list(steps), [], Hash.from_string(latest.blockhash))
        text = b64encode(to_bytes_versioned(message)).decode()
        return OwnerTransaction(
            does=does,
            message=text,
            last_valid_block_height=latest.last_valid_block_height,
            rent_lamports=rent_lamports,
        )

    async def send(self, signed: VersionedTransaction, last_valid_block_height: int) -> str:
        """Send it and wait until it is confirmed; returns its signature. One that landed before is not sent again.

        Raises:
            OwnerRefused: the chain says no; nothing of it happened.
            OwnerTooLate: its blockhash had expired before it was sent.
            ChainUnavailable: the node did not answer; nothing was sent.
            OwnerUnknown: it was sent, and nobody knows what became of it.
        """
        signature = str(signed.signatures[0])
        if not await self._landed(signature):
            if await self.block_height() > last_valid_block_height:
                raise OwnerTooLate
            await self._hand_over(signed)
            await self._confirm(signature, last_valid_block_height)
        return signature

    async def _hand_over(self, signed: VersionedTransaction) -> None:
        config = {"encoding": "base64", "preflightCommitment": "confirmed"}
        wire = b64encode(bytes(signed)).decode()
        try:
            sent = await self._rpc.ask_once("sendTransaction", wire, config, answer=Answer[SignatureText])
        except TransientFault as fault:
            raise OwnerUnknown(fault.told) from fault
        if not isinstance(sent, NodeError):
            return
        if sent.code != PREFLIGHT_FAILURE:
            # Also an error that a proxy made after the node had taken the bytes: nobody knows.
            raise OwnerUnknown(str(sent.fault("sendTransaction")))
        refusal = _preflight_data(sent)
        if refusal.err == "BlockhashNotFound":
            raise OwnerTooLate
        if refusal.err != "AlreadyProcessed":
            raise OwnerRefused(_why(sent.message, refusal))

    async def _confirm(self, signature: str, last_valid_block_height: int) -> None:
        pause, deadline = FIRST_POLL_S, time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                # The height first: a transaction that is not there afterwards came too late for it.
                height = await self.block_height()
                if await self._landed(signature):
                    return
            except TransientFault:
                height = 0
            if height > last_valid_block_height:
                break
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LAST_POLL_S)
        raise OwnerUnknown("it was sent and not confirmed in time")

    async def _landed(self, signature: str) -> bool:
        """Whether it is confirmed; OwnerRefused when it is there and failed."""
        status = await self.chain.status(signature)
        if status is not None and status.err is not None:
            raise OwnerRefused(f"the chain refused it: {str(status.err)[:200]}")
        return status is not None


def unsigned(asked: OwnerTransaction) -> str:
    """The transaction for a wallet to sign, base64: all there but the signature, which is 64 zeros."""
    return b64encode(bytes(VersionedTransaction.populate(_message_of(asked), [Signature.default()]))).decode()


def signed_by(asked: OwnerTransaction, owner: Keypair) -> VersionedTransaction:
    """The transaction, signed with a key at hand."""
    return VersionedTransaction(_message_of(asked), [owner])


def with_signature(asked: OwnerTransaction, owner: str, signature: str) -> VersionedTransaction:
    """The transaction, with the signature that a wallet gave for it.

    Raises:
        OwnerSignatureWrong: it is none, or not the owner's over exactly this message.
    """
    try:
        given = Signature.from_string(signature.strip())
    except ValueError:
        raise OwnerSignatureWrong("that is no signature in base58") from None
    if not given.verify(Pubkey.from_string(owner), b64decode(asked.message)):
        raise OwnerSignatureWrong(f"the signature is not {owner}'s over the transaction that was exported last")
    return VersionedTransaction.populate(_message_of(asked), [given])


def with_transaction(asked: OwnerTransaction, owner: str, transaction: str) -> VersionedTransaction:
    """The transaction that a wallet signed, base64; `wallet_changes` says what the wallet may have added to it.

    Raises:
        OwnerSignatureWrong: it is not what was asked for, or not signed by the owner alone.
    """
    signed = read_transaction(transaction)
    message, key = signed.message, Pubkey.from_string(owner)
    if not isinstance(message, MessageV0):
        raise OwnerSignatureWrong("the wallet made a legacy transaction of it")
    if (why := why_not_the_same(_message_of(asked), message)) is not None:
        raise OwnerSignatureWrong(why)
    if message.account_keys[0] != key or len(signed.signatures) != 1:
        raise OwnerSignatureWrong(f"it must be signed by {owner} alone")
    if signed.signatures[0] == Signature.default():
        raise OwnerSignatureWrong(f"that transaction is not signed yet: {owner} signs it first")
    if not signed.signatures[0].verify(key, to_bytes_versioned(message)):
        raise OwnerSignatureWrong(f"the signature is not {owner}'s over that transaction")
    return signed


def read_transaction(text: str) -> VersionedTransaction:
    """A transaction in base64, in the one form that its bytes may have.

    Raises:
        OwnerSignatureWrong: it is none, or other bytes than those that a node reads follow or stand for it.
    """
    try:
        wire = b64decode("".join(text.split()), validate=True)
        transaction = VersionedTransaction.from_bytes(wire)
    except ValueError:
        raise OwnerSignatureWrong("that is no transaction in base64") from None
    if bytes(transaction) != wire or len(wire) > MOST_WIRE_BYTES:  # solders leaves out what follows
        raise OwnerSignatureWrong("that is no transaction as a node takes it")
    return transaction


def message_of(transaction: VersionedTransaction) -> str:
    """The message that is signed, base64."""
    message = transaction.message
    raw = to_bytes_versioned(message) if isinstance(message, MessageV0) else bytes(message)
    return b64encode(raw).decode()


def _message_of(asked: OwnerTransaction) -> MessageV0:
    raw = b64decode(asked.message)
    assert raw[0] == VERSION_0, "drafts are of version 0"
    return MessageV0.from_bytes(raw[1:])


def _preflight_data(error: NodeError) -> PreflightData:
    try:
        return PreflightData.model_validate(error.data)
    except ValidationError:
        return PreflightData()


def _why(message: str, refusal: PreflightData) -> str:
    """The program's own last word, when it said one."""
    said = [line for line in refusal.logs or () if "Error" in line or "error" in line]
    return (f"{message} ({said[-1]})" if said else message)[:300]
