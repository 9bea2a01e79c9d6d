"""Reads a Solana RPC node: the only place that knows JSON-RPC. Implements the port `Chain`.

Built on solders' typed requests and responses over solana-py's HTTP provider, as that client's own methods have no
minContextSlot. Sends nothing: payments are broadcast by the seller's facilitator.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, TypeVar

from solana.exceptions import SolanaRpcException
from solana.rpc.core import RPCException
from solana.rpc.providers.async_http import AsyncHTTPProvider
from solders.account import Account
from solders.account_decoder import UiAccountEncoding
from solders.commitment_config import CommitmentLevel
from solders.message import MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.rpc import requests, responses
from solders.rpc.config import (
    RpcAccountInfoConfig,
    RpcContextConfig,
    RpcSignaturesForAddressConfig,
    RpcSignatureStatusConfig,
    RpcTransactionConfig,
)
from solders.rpc.errors import (
    InvalidParamsMessage,
    InvalidRequestMessage,
    MethodNotFoundMessage,
    MinContextSlotNotReachedMessage,
)
from solders.signature import Signature
from solders.token import ID as TOKEN
from solders.token.state import Mint
from solders.token.state import TokenAccount as SplAccount
from solders.transaction import VersionedTransaction
from solders.transaction_status import TransactionConfirmationStatus, UiTransactionEncoding
from spl.token.constants import ACCOUNT_LEN, MINT_LEN, TOKEN_2022_PROGRAM_ID

from autopay.adapters.solana.extensions import mint_problem
from autopay.domain.errors import ChainUnavailable, NodeBehind, QuestionRefused, WrongNetwork
from autopay.domain.network import Network, genesis_hash
from autopay.domain.payment.chain import (
    Blockhash,
    HistoryEntry,
    LandedTransaction,
    MintFacts,
    Tip,
    TokenAccount,
    Transfer,
)

CONFIRMED, FINALIZED = CommitmentLevel.Confirmed, CommitmentLevel.Finalized
PAGE = 1000  # getSignaturesForAddress, limit
TRANSFER_CHECKED = bytes([12])  # SPL Token instruction index
TOKEN_PROGRAMS = frozenset({str(TOKEN), str(TOKEN_2022_PROGRAM_ID)})

R = TypeVar("R")


class SolanaChain:
    """One RPC endpoint of one network; checks once that the node belongs to it.

    Args:
        network: whose genesis hash the node must have, else WrongNetwork.
    """

    def __init__(self, rpc_url: str, network: Network, timeout_s: float = 10) -> None:
        self._rpc = AsyncHTTPProvider(rpc_url, timeout=timeout_s)
        self._network = network
        self._checked = False

    async def close(self) -> None:
        """Close the connection pool."""
        await self._rpc.close()

    async def _ask(self, request: Any, answer: type[R]) -> R:
        await self.check_network()
        return await self._ask_unchecked(request, answer)

    async def _ask_unchecked(self, request: Any, answer: type[R]) -> R:
        try:
            return await self._rpc.make_request(request, answer)  # type: ignore[type-var]
        except RPCException as error:
            if error.args and isinstance(error.args[0], MinContextSlotNotReachedMessage):
                raise NodeBehind(f"at slot {error.args[0].data.context_slot}") from None
            raise (QuestionRefused if _is_our_mistake(error) else ChainUnavailable)(str(error)[:300]) from None
        except SolanaRpcException as error:
            raise ChainUnavailable(type(error.__cause__).__name__) from None
        except (TimeoutError, ValueError) as error:
            raise ChainUnavailable(f"an unreadable answer ({type(error).__name__})") from None

    async def check_network(self) -> None:
        """Once: the node must have our network's genesis hash, else WrongNetwork."""
        if self._checked:
            return
        found = await self.genesis_hash()
        if found != genesis_hash(self._network):
            raise WrongNetwork(f"expected {self._network}, the node has genesis hash {found}")
        self._checked = True

    async def genesis_hash(self) -> str:
        """The hash of the chain's first block, as the node says it."""
        return str((await self._ask_unchecked(requests.GetGenesisHash(), responses.GetGenesisHashResp)).value)

    async def latest_blockhash(self) -> Blockhash:
        """The newest blockhash at confirmed."""
        request = requests.GetLatestBlockhash(RpcContextConfig(CONFIRMED))
        answer = await self._ask(request, responses.GetLatestBlockhashResp)
        return Blockhash(
            blockhash=str(answer.value.blockhash),
            slot=answer.context.slot,
            last_valid_block_height=answer.value.last_valid_block_height,
        )

    async def finalized_tip(self) -> Tip:
        """The finalized slot and block height, both from one answer of one node (getEpochInfo)."""
        request = requests.GetEpochInfo(RpcContextConfig(FINALIZED))
        info = (await self._ask(request, responses.GetEpochInfoResp)).value
        return Tip(slot=info.absolute_slot, block_height=info.block_height)

    async def first_available_slot(self) -> int:
        """The oldest slot whose block the node still holds."""
        answer = await self._ask(requests.GetFirstAvailableBlock(), responses.GetFirstAvailableBlockResp)
        return answer.value

    async def mint_facts(self, mint: str) -> MintFacts | None:
        """The mint's program, decimals and what speaks against it; None when there is no such mint."""
        account = (await self._account(mint, CONFIRMED, None)).value
        if account is None or account.owner not in (TOKEN, TOKEN_2022_PROGRAM_ID):
            return None
        data = bytes(account.data)
        if len(data) < MINT_LEN:
            return None
        return MintFacts(
            mint=mint,
            program=str(account.owner),
            decimals=Mint.from_bytes(data[:MINT_LEN]).decimals,
            problem=mint_problem(data),
        )

    async def token_account(
        self, address: str, *, final: bool = False, min_slot: int | None = None
    ) -> TokenAccount | None:
        """The account and the slot of the reading; None when it is none of the token programs'."""
        answer = await self._account(address, FINALIZED if final else CONFIRMED, min_slot)
        return read_token_account(address, answer.value, answer.context.slot)

    async def _account(
        self, address: str, commitment: CommitmentLevel, min_slot: int | None
    ) -> responses.GetAccountInfoResp:
        config = RpcAccountInfoConfig(
            encoding=UiAccountEncoding.Base64, commitment=commitment, min_context_slot=min_slot
        )
        return await self._ask(
            requests.GetAccountInfo(Pubkey.from_string(address), config), responses.GetAccountInfoResp
        )

    async def newest_signature(self, account: str) -> str | None:
        """The newest transaction that names the account, at confirmed."""
        page = await self._page(account, before=None, until=None, limit=1, commitment=CONFIRMED, min_slot=None)
        return str(page[0].signature) if page else None

    async def history(
        self, account: str, *, until: str | None, final: bool, min_slot: int | None
    ) -> Sequence[HistoryEntry]:
        """All transactions that name the account, newest first, down to `until` (excluded)."""
        commitment = FINALIZED if final else CONFIRMED
        sightings: list[HistoryEntry] = []
        before: Signature | None = None
        while True:
            page = await self._page(
                account, before=before, until=until, limit=PAGE, commitment=commitment, min_slot=min_slot
            )
            sightings += [
                HistoryEntry(signature=str(row.signature), slot=row.slot, failed=row.err is not None, memos=row.memo)
                for row in page
            ]
            if len(page) < PAGE:
                return sightings
            before = page[-1].signature

    async def _page(
        self,
        account: str,
        *,
        before: Signature | None,
        until: str | None,
        limit: int,
        commitment: CommitmentLevel,
        min_slot: int | None,
    ) -> Sequence[responses.RpcConfirmedTransactionStatusWithSignature]:
        config = RpcSignaturesForAddressConfig(
            before=before,
            until=Signature.from_string(until) if until else None,
            limit=limit,
            commitment=commitment,
            min_context_slot=min_slot,
        )
        request = requests.GetSignaturesForAddress(Pubkey.from_string(account), config)
        return (await self._ask(request, responses.GetSignaturesForAddressResp)).value

    async def transaction(self, signature: str) -> LandedTransaction | None:
        """The transaction, once it is at least confirmed; None when the node knows nothing of it.

        Raises:
            NodeBehind: its status is known but its content is not readable here.
        """
        try:
            parsed = Signature.from_string(signature)
        except ValueError:
            return None
        status = await self._status(parsed)
        if status is None:
            return None
        config = RpcTransactionConfig(UiTransactionEncoding.Base64, CONFIRMED, 0)
        found = (await self._ask(requests.GetTransaction(parsed, config), responses.GetTransactionResp)).value
        if found is None or found.transaction.meta is None:
            raise NodeBehind(f"transaction {signature} has a status but no content")
        content = found.transaction.transaction
        assert isinstance(content, VersionedTransaction)
        final = status == TransactionConfirmationStatus.Finalized
        return read_landed(content, signature, found.slot, failed=found.transaction.meta.err is not None, final=final)

    async def _status(self, signature: Signature) -> TransactionConfirmationStatus | None:
        config = RpcSignatureStatusConfig(search_transaction_history=True)
        request = requests.GetSignatureStatuses([signature], config)
        status = (await self._ask(request, responses.GetSignatureStatusesResp)).value[0]
        if status is None or status.confirmation_status == TransactionConfirmationStatus.Processed:
            return None
        return status.confirmation_status or TransactionConfirmationStatus.Confirmed


def _is_our_mistake(error: RPCException) -> bool:
    mistakes = (InvalidRequestMessage, InvalidParamsMessage, MethodNotFoundMessage)
    return bool(error.args) and isinstance(error.args[0], mistakes)


def read_token_account(address: str, account: Account | None, slot: int) -> TokenAccount | None:
    """The token account in an account as of a slot; None when it is none of the token programs'."""
    if account is None or account.owner not in (TOKEN, TOKEN_2022_PROGRAM_ID) or len(account.data) < ACCOUNT_LEN:
        return None
    state = SplAccount.from_bytes(bytes(account.data)[:ACCOUNT_LEN])
    return TokenAccount(
        address=address,
        owner=str(state.owner),
        mint=str(state.mint),
        amount_atomic=state.amount,
        delegate=str(state.delegate) if state.delegate else None,
        delegated_atomic=state.delegated_amount,
        slot=slot,
    )


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
