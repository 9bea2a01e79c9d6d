"""Reads a Solana node. Implements the port `Chain`.

Sends nothing: payments are broadcast by the seller's facilitator.
"""

import hashlib
import itertools
from collections.abc import Collection, Sequence
from typing import Any, Literal

from solders.message import MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.token import ID as TOKEN
from solders.token.state import Mint, TokenAccountState
from solders.token.state import TokenAccount as SplAccount
from solders.transaction import VersionedTransaction
from spl.token.constants import ACCOUNT_LEN, MINT_LEN, TOKEN_2022_PROGRAM_ID

from autopay.adapters.solana.answers import (
    U64,
    AccountData,
    Answer,
    AsOfSlot,
    EpochInfo,
    HistoryRow,
    LatestBlockhash,
    SignatureStatus,
    TransactionInBlock,
)
from autopay.adapters.solana.extensions import mint_problem
from autopay.adapters.solana.rpc import NodeRpc, readable
from autopay.domain.errors import ChainUnavailable, NodeBehind
from autopay.domain.payment.chain import (
    Blockhash,
    HistoryEntry,
    LandedTransaction,
    MintFacts,
    Tip,
    TokenAccount,
    TransactionState,
    Transfer,
)

Commitment = Literal["confirmed", "finalized"]
PAGE = 1000  # getSignaturesForAddress, limit
TRANSFER_CHECKED = bytes([12])  # SPL Token instruction index
TOKEN_PROGRAMS = frozenset({str(TOKEN), str(TOKEN_2022_PROGRAM_ID)})


class SolanaChain:
    """What one node shows: blockhashes, finality, mints, token accounts and transactions."""

    def __init__(self, rpc: NodeRpc) -> None:
        self._rpc = rpc

    async def check_network(self) -> None:
        """See `NodeRpc.check_network`."""
        await self._rpc.check_network()

    async def genesis_hash(self) -> str:
        """The hash of the chain's first block, as the node says it."""
        return await self._rpc.genesis_hash()

    async def latest_blockhash(self) -> Blockhash:
        """The newest blockhash at confirmed."""
        found = await self._rpc.ask(
            "getLatestBlockhash", {"commitment": "confirmed"}, answer=Answer[AsOfSlot[LatestBlockhash]]
        )
        return Blockhash(
            blockhash=found.value.blockhash,
            slot=found.context.slot,
            last_valid_block_height=found.value.last_valid_block_height,
        )

    async def finalized_tip(self) -> Tip:
        """The finalized slot and block height, both from one answer of one node (getEpochInfo)."""
        info = await self._rpc.ask("getEpochInfo", {"commitment": "finalized"}, answer=Answer[EpochInfo])
        return Tip(slot=info.absolute_slot, block_height=info.block_height)

    async def first_available_slot(self) -> int:
        """The oldest slot whose block the node still holds."""
        return await self._rpc.ask("getFirstAvailableBlock", answer=Answer[U64])

    async def block_time(self, slot: int) -> int | None:
        """When the block of that slot was made, in seconds since 1970, as validators estimate it; None if not known."""
        return await self._rpc.ask("getBlockTime", slot, answer=Answer[int | None])

    async def mint_facts(self, mint: str) -> MintFacts | None:
        """The mint's program, decimals and what speaks against it; None when there is no such mint."""
        account = (await self.account(mint)).value
        return None if account is None else read_mint(mint, account.owner, account.data)

    async def token_account(
        self, address: str, *, final: bool = False, min_slot: int | None = None
    ) -> TokenAccount | None:
        """The account and the slot of the reading; None when it is none of the token programs'."""
        found = await self.account(address, "finalized" if final else "confirmed", min_slot)
        return read_token_account(address, found.value, found.context.slot)

    async def account(
        self, address: str, commitment: Commitment = "confirmed", min_slot: int | None = None
    ) -> AsOfSlot[AccountData | None]:
        """Any account, and the slot of the reading."""
        config = {"encoding": "base64", "commitment": commitment} | _at_least(min_slot)
        found = await self._rpc.ask("getAccountInfo", address, config, answer=Answer[AsOfSlot[AccountData | None]])
        if min_slot is not None and found.context.slot < min_slot:
            raise NodeBehind(f"at slot {found.context.slot}")
        return found

    async def newest_signature(self, account: str) -> str | None:
        """The newest transaction that names the account, at confirmed."""
        rows = await self.page(account, before=None, until=None, limit=1, commitment="confirmed", min_slot=None)
        return rows[0].signature if rows else None

    async def history(
        self, account: str, *, until: str | None, final: bool, min_slot: int | None
    ) -> Sequence[HistoryEntry]:
        """All transactions that name the account, newest first, down to `until` (excluded)."""
        commitment: Commitment = "finalized" if final else "confirmed"
        sightings: list[HistoryEntry] = []
        before: str | None = None
        while True:
            rows = await self.page(
                account, before=before, until=until, limit=PAGE, commitment=commitment, min_slot=min_slot
            )
            sightings += rows
            if len(rows) < PAGE:
                return sightings
            before = rows[-1].signature

    async def page(
        self,
        account: str,
        *,
        before: str | None,
        until: str | None,
        limit: int,
        commitment: Commitment,
        min_slot: int | None,
    ) -> Sequence[HistoryEntry]:
        """At most `limit` transactions that name the account, newest first, between `before` and `until`."""
        config: dict[str, Any] = {"limit": limit, "commitment": commitment} | _at_least(min_slot)
        if before is not None:
            config["before"] = before
        if until is not None:
            config["until"] = until
        rows = await self._rpc.ask("getSignaturesForAddress", account, config, answer=Answer[list[HistoryRow]])
        newest_first = all(newer.slot >= older.slot for newer, older in itertools.pairwise(rows))
        if not newest_first or len(rows) > limit or any(row.signature in (before, until) for row in rows):
            raise ChainUnavailable("getSignaturesForAddress: other rows than those that were asked for")
        return [
            HistoryEntry(signature=row.signature, slot=row.slot, failed=row.err is not None, memos=row.memo)
            for row in rows
        ]

    async def transaction(self, signature: str) -> LandedTransaction | None:
        """The transaction, once it is at least confirmed; None when the node knows nothing of it.

        Raises:
            NodeBehind: its status is known but its content is not readable here.
        """
        try:
            Signature.from_string(signature)
        except ValueError:
            return None
        status = await self.status(signature)
        if status is None:
            return None
        found = await self.content(signature, "confirmed")
        if found is None or found.meta is None:
            raise NodeBehind(f"transaction {signature} has a status but no content")
        return _landed(found, signature, final=status.confirmation_status == "finalized")

    async def final_transaction(self, signature: str) -> LandedTransaction | None:
        """The transaction at finalized; None when the node does not show it."""
        found = await self.content(signature, "finalized")
        return None if found is None or found.meta is None else _landed(found, signature, final=True)

    async def status(self, signature: str) -> SignatureStatus | None:
        """What became of a transaction, once it is at least confirmed."""
        (status,) = await self._statuses([signature])
        return status

    async def statuses(self, signatures: Sequence[str]) -> Sequence[TransactionState | None]:
        """What became of each of the transactions, once it is at least confirmed; see the port."""
        return [
            TransactionState(
                slot=status.slot, failed=status.err is not None, final=status.confirmation_status == "finalized"
            )
            if status is not None
            else None
            for status in await self._statuses(signatures)
        ]

    async def _statuses(self, signatures: Sequence[str]) -> Sequence[SignatureStatus | None]:
        found = await self._rpc.ask(
            "getSignatureStatuses",
            list(signatures),
            {"searchTransactionHistory": True},
            answer=Answer[AsOfSlot[list[SignatureStatus | None]]],
        )
        if len(found.value) != len(signatures):
            raise ChainUnavailable("getSignatureStatuses: another number of answers than of questions")
        return [
            None if status is None or status.confirmation_status == "processed" else status for status in found.value
        ]

    async def content(self, signature: str, commitment: Commitment) -> TransactionInBlock | None:
        """The transaction as it is in its block; None when the node does not show it."""
        config = {"encoding": "base64", "commitment": commitment, "maxSupportedTransactionVersion": 0}
        found = await self._rpc.ask("getTransaction", signature, config, answer=Answer[TransactionInBlock | None])
        if found is not None and str(found.transaction.signatures[0]) != signature:
            raise ChainUnavailable("getTransaction: another transaction than the one that was asked for")
        return found


def _at_least(min_slot: int | None) -> dict[str, Any]:
    return {} if min_slot is None else {"minContextSlot": min_slot}


def _landed(found: TransactionInBlock, signature: str, *, final: bool) -> LandedTransaction:
    assert found.meta is not None
    with readable(f"transaction {signature}"):
        return read_landed(found.transaction, signature, found.slot, failed=found.meta.err is not None, final=final)


def read_mint(mint: str, owner: str, data: bytes) -> MintFacts | None:
    """What a mint's account says; None when it is none of the token programs'."""
    if owner not in TOKEN_PROGRAMS or len(data) < MINT_LEN:
        return None
    with readable(f"mint {mint}"):
        decimals = Mint.from_bytes(data[:MINT_LEN]).decimals
    return MintFacts(mint=mint, program=owner, decimals=decimals, problem=mint_problem(data))


def read_token_account(address: str, account: AccountData | None, slot: int) -> TokenAccount | None:
    """The token account in an account as of a slot; None when it is none of the token programs'."""
    if account is None or account.owner not in TOKEN_PROGRAMS or len(account.data) < ACCOUNT_LEN:
        return None
    with readable(f"token account {address}"):
        state = SplAccount.from_bytes(account.data[:ACCOUNT_LEN])
    return TokenAccount(
        address=address,
        owner=str(state.owner),
        mint=str(state.mint),
        amount_atomic=state.amount,
        delegate=str(state.delegate) if state.delegate else None,
        delegated_atomic=state.delegated_amount,
        slot=slot,
    )


def is_frozen(account: AccountData) -> bool:
    """Whether a token account of one of the token programs is frozen: nothing leaves it then."""
    with readable("token account"):
        return SplAccount.from_bytes(account.data[:ACCOUNT_LEN]).state == TokenAccountState.Frozen


def read_landed(
    transaction: VersionedTransaction, signature: str, slot: int, *, failed: bool, final: bool
) -> LandedTransaction:
    """What a transaction in a block shows: its signers, its message's hash and its TransferChecked instructions."""
    message = transaction.message
    keys = [str(key) for key in message.account_keys]
    transfers = []
    for instruction in message.instructions:
        data = bytes(instruction.data)
        accounts = [keys[index] for index in instruction.accounts if index < len(keys)]
        program = keys[instruction.program_id_index]
        if program not in TOKEN_PROGRAMS or data[:1] != TRANSFER_CHECKED or len(accounts) < 4 or len(data) < 9:
            continue
        source, mint, destination, authority = accounts[:4]
        amount = int.from_bytes(data[1:9], "little")
        transfers.append(
            Transfer(source=source, mint=mint, destination=destination, authority=authority, amount_atomic=amount)
        )
    signed_bytes = to_bytes_versioned(message) if isinstance(message, MessageV0) else bytes(message)
    return LandedTransaction(
        signature=signature,
        slot=slot,
        failed=failed,
        final=final,
        message_hash=hashlib.sha256(signed_bytes).hexdigest(),
        signatures=tuple(str(each) for each in transaction.signatures),
        transfers=tuple(transfers),
    )


def memos_of(transaction: VersionedTransaction, programs: Collection[Pubkey]) -> list[str]:
    """The texts of the transaction's memos, as these memo programs have them."""
    message = transaction.message
    keys = message.account_keys
    return [
        bytes(each.data).decode(errors="replace")
        for each in message.instructions
        if each.program_id_index < len(keys) and keys[each.program_id_index] in programs
    ]
