"""Walks an account's finalized history page by page; implements the port `ChainWalk` of a reconciliation.

Not `Chain.history`, which gathers everything in memory: an account may have years of it. What must not live here:
comparing with the ledger.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

from solders.account_decoder import UiAccountEncoding
from solders.pubkey import Pubkey
from solders.rpc import requests, responses
from solders.rpc.config import RpcAccountInfoConfig, RpcTokenAccountsFilterMint, RpcTransactionConfig
from solders.signature import Signature
from solders.transaction import VersionedTransaction
from solders.transaction_status import UiTransactionEncoding
from spl.token.instructions import get_associated_token_address

from autopay.adapters.solana.chain import FINALIZED, PAGE, SolanaChain, read_landed, read_token_account
from autopay.domain.errors import NodeBehind, TransientFault
from autopay.domain.network import Network
from autopay.domain.payment.chain import HistoryEntry, LandedTransaction, TokenAccount
from autopay.domain.reconcile.checkpoint import AccountTransaction, HistoryBatch, HistoryPosition
from autopay.domain.reconcile.compare import Payer
from autopay.domain.reconcile.run import CheckpointForeign

AT_ONCE = 8
"""getTransaction calls in flight; public nodes limit 40 a method in 10 s (docs.solana.com, clusters)."""

TRIES = 6
FIRST_WAIT_S = 0.5
"""Doubles: a node that limits or lags is given 15 s in all."""

MEMOS = frozenset(
    Pubkey.from_string(each)
    for each in ("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr", "Memo1UhkJRfHyvLMcVucJwxXeuD728EqVDDwQDxFMNo")
)
"""The memo program, version 3 and 1 (SPL)."""

T = TypeVar("T")


class HistoryWalk(SolanaChain):
    """A Solana node that is read backwards.

    Args:
        page: transactions a question, at most 1000.
    """

    def __init__(
        self,
        rpc_url: str,
        network: Network,
        timeout_s: float = 30,
        page: int = PAGE,
        first_wait_s: float = FIRST_WAIT_S,
    ) -> None:
        super().__init__(rpc_url, network, timeout_s)
        self._page_size = page
        self._first_wait_s = first_wait_s
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def batches(
        self, payer: Payer, *, up_to_slot: int, before: str | None, until: HistoryPosition | None, min_slot: int
    ) -> AsyncIterator[HistoryBatch]:
        """Batches of about a page, cut between slots; see the port.

        Raises:
            CheckpointForeign: the history does not have `until`.
        """
        top, held = up_to_slot, list[HistoryEntry]()
        async for page in self._pages(payer.source_account, await self._known(before), min_slot):
            held += [row for row in page if row.slot <= up_to_slot]
            if until is not None and any(row.slot <= until.slot for row in held):
                break
            cut = held[-1].slot if held else top  # the next page may have more of this slot
            whole = [row for row in held if row.slot > cut]
            if whole:
                yield await self._batch(payer, whole, above_slot=cut, up_to_slot=top)
                top, held = cut, held[len(whole) :]
        if until is not None:
            if all(row.signature != until.signature for row in held):
                raise CheckpointForeign(
                    f"transaction {until.signature} is not in the history of {payer.source_account}"
                )
            held = [row for row in held if row.slot > until.slot]
        yield await self._batch(payer, held, above_slot=until.slot if until else -1, up_to_slot=top)

    async def final_transaction(self, signature: str) -> LandedTransaction | None:
        """The transaction at finalized; None when the node does not show it."""
        parsed = Signature.from_string(signature)
        config = RpcTransactionConfig(UiTransactionEncoding.Base64, FINALIZED, 0)
        found = (await self._ask(requests.GetTransaction(parsed, config), responses.GetTransactionResp)).value
        if found is None or found.transaction.meta is None:
            return None
        content = found.transaction.transaction
        assert isinstance(content, VersionedTransaction)
        return read_landed(content, signature, found.slot, failed=found.transaction.meta.err is not None, final=True)

    async def memo(self, signature: str) -> str | None:
        """The text of the transaction's memo; None when it has none, or more than one.

        Raises:
            NodeBehind: the node does not show the transaction.
        """
        parsed = Signature.from_string(signature)
        config = RpcTransactionConfig(UiTransactionEncoding.Base64, FINALIZED, 0)
        found = (await self._ask(requests.GetTransaction(parsed, config), responses.GetTransactionResp)).value
        if found is None:
            raise NodeBehind(f"transaction {signature} has no content here")
        content = found.transaction.transaction
        assert isinstance(content, VersionedTransaction)
        message = content.message
        memos = [
            bytes(each.data) for each in message.instructions if message.account_keys[each.program_id_index] in MEMOS
        ]
        return memos[0].decode(errors="replace") if len(memos) == 1 else None

    async def accounts_of(self, owner: str, mint: str) -> Sequence[TokenAccount]:
        """The wallet's token accounts of that mint at finalized, without its associated one."""
        wallet, wanted = Pubkey.from_string(owner), Pubkey.from_string(mint)
        config = RpcAccountInfoConfig(encoding=UiAccountEncoding.Base64, commitment=FINALIZED)
        request = requests.GetTokenAccountsByOwner(wallet, RpcTokenAccountsFilterMint(wanted), config)
        answer = await self._ask(request, responses.GetTokenAccountsByOwnerResp)
        found = []
        for each in answer.value:
            home = get_associated_token_address(wallet, wanted, each.account.owner)
            account = read_token_account(str(each.pubkey), each.account, answer.context.slot)
            if account is not None and each.pubkey != home:
                found.append(account)
        return found

    async def payers_from(self, account: TokenAccount) -> dict[str, int]:
        """Who beside the owner moved money out of the account by TransferChecked, and how many base units."""
        moved: dict[str, int] = {}
        async for page in self._pages(account.address, None, account.slot):
            for row in page:
                if row.failed:
                    continue
                for each in (await self._patiently(lambda row=row: self._content(row))).transfers:  # type: ignore[misc]
                    if each.source == account.address and each.authority != account.owner:
                        moved[each.authority] = moved.get(each.authority, 0) + each.amount_atomic
        return moved

    async def _known(self, before: str | None) -> str | None:
        """Where to go on; from the top when the node does not know it, as it would show an empty history then."""
        if before is None:
            return None
        found = await self._patiently(lambda: self.final_transaction(before))
        return before if found is not None else None

    async def _pages(self, account: str, before: str | None, min_slot: int) -> AsyncIterator[Sequence[HistoryEntry]]:
        """Until there is nothing older: a short page is no proof of the end, an empty one is."""
        after = Signature.from_string(before) if before else None
        while True:
            rows = await self._patiently(
                lambda after=after: self._page(  # type: ignore[misc]
                    account,
                    before=after,
                    until=None,
                    limit=self._page_size,
                    commitment=FINALIZED,
                    min_slot=min_slot,
                )
            )
            if not rows:
                return
            after = rows[-1].signature
            yield [
                HistoryEntry(signature=str(row.signature), slot=row.slot, failed=row.err is not None, memos=row.memo)
                for row in rows
            ]

    async def _batch(
        self, payer: Payer, rows: Sequence[HistoryEntry], *, above_slot: int, up_to_slot: int
    ) -> HistoryBatch:
        transactions = await asyncio.gather(*(self._transaction(payer, row) for row in rows))
        return HistoryBatch(above_slot=above_slot, up_to_slot=up_to_slot, transactions=tuple(transactions))

    async def _transaction(self, payer: Payer, row: HistoryEntry) -> AccountTransaction:
        if row.failed:
            return AccountTransaction(signature=row.signature, slot=row.slot)
        async with self._slots:
            landed = await self._patiently(lambda: self._content(row))
        ours = [each for each in landed.transfers if (each.source, each.authority) == _of(payer)]
        return AccountTransaction(
            signature=row.signature, slot=row.slot, message_hash=landed.message_hash, transfers=tuple(ours)
        )

    async def _content(self, row: HistoryEntry) -> LandedTransaction:
        landed = await self.final_transaction(row.signature)
        if landed is None:
            raise NodeBehind(f"transaction {row.signature} is in the account's history but has no content")
        return landed

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        wait_s = self._first_wait_s
        for _ in range(TRIES - 1):
            try:
                return await ask()
            except TransientFault:
                await asyncio.sleep(wait_s)
                wait_s *= 2
        return await ask()


def _of(payer: Payer) -> tuple[str, str]:
    return payer.source_account, payer.authority
