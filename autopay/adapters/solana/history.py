"""Walks an account's finalized history page by page; implements the port `ChainWalk` of a reconciliation.

Not `Chain.history`, which gathers everything in memory: an account may have years of it. What must not live here:
comparing with the ledger.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from solders.pubkey import Pubkey
from spl.token.instructions import get_associated_token_address

from autopay.adapters.solana.answers import Answer, AsOfSlot, OwnedAccount
from autopay.adapters.solana.chain import PAGE, Commitment, SolanaChain, memos_of, read_token_account
from autopay.adapters.solana.rpc import NodeRpc
from autopay.domain.errors import NodeBehind, TransientFault
from autopay.domain.payment.chain import Blockhash, HistoryEntry, LandedTransaction, Tip, TokenAccount
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


class PagedNode(Protocol):
    """A node that gives out an account's history in pages."""

    async def page(
        self,
        account: str,
        *,
        before: str | None,
        until: str | None,
        limit: int,
        commitment: Commitment,
        min_slot: int | None,
    ) -> Sequence[HistoryEntry]: ...

    async def final_transaction(self, signature: str) -> LandedTransaction | None: ...


class HistoryWalk:
    """Reads accounts' histories backwards, and waits for a node that limits or lags.

    Args:
        page: transactions a question, at most 1000.
        first_wait_s: before a question is asked again; doubles.
    """

    def __init__(self, node: PagedNode, page: int = PAGE, first_wait_s: float = FIRST_WAIT_S) -> None:
        self._node = node
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
        async for page in self.pages(payer.source_account, await self._known(before), min_slot):
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

    async def payers_from(self, account: TokenAccount) -> dict[str, int]:
        """Who beside the owner moved money out of the account by TransferChecked, and how many base units."""
        moved: dict[str, int] = {}
        async for page in self.pages(account.address, None, account.slot):
            for row in page:
                if row.failed:
                    continue
                for each in (await self.patiently(lambda row=row: self._content(row))).transfers:  # type: ignore[misc]
                    if each.source == account.address and each.authority != account.owner:
                        moved[each.authority] = moved.get(each.authority, 0) + each.amount_atomic
        return moved

    async def _known(self, before: str | None) -> str | None:
        """Where to go on; from the top when the node does not know it, as it would show an empty history then."""
        if before is None:
            return None
        found = await self.patiently(lambda: self._node.final_transaction(before))
        return before if found is not None else None

    async def pages(self, account: str, before: str | None, min_slot: int) -> AsyncIterator[Sequence[HistoryEntry]]:
        """The finalized history, until there is nothing older: a short page is no proof of the end, an empty one is."""
        while True:
            rows = await self.patiently(
                lambda before=before: self._node.page(  # type: ignore[misc]
                    account,
                    before=before,
                    until=None,
                    limit=self._page_size,
                    commitment="finalized",
                    min_slot=min_slot,
                )
            )
            if not rows:
                return
            before = rows[-1].signature
            yield rows

    async def _batch(
        self, payer: Payer, rows: Sequence[HistoryEntry], *, above_slot: int, up_to_slot: int
    ) -> HistoryBatch:
        transactions = await asyncio.gather(*(self._transaction(payer, row) for row in rows))
        return HistoryBatch(above_slot=above_slot, up_to_slot=up_to_slot, transactions=tuple(transactions))

    async def _transaction(self, payer: Payer, row: HistoryEntry) -> AccountTransaction:
        if row.failed:
            return AccountTransaction(signature=row.signature, slot=row.slot)
        async with self._slots:
            landed = await self.patiently(lambda: self._content(row))
        ours = [each for each in landed.transfers if (each.source, each.authority) == _of(payer)]
        return AccountTransaction(
            signature=row.signature, slot=row.slot, message_hash=landed.message_hash, transfers=tuple(ours)
        )

    async def _content(self, row: HistoryEntry) -> LandedTransaction:
        landed = await self._node.final_transaction(row.signature)
        if landed is None:
            raise NodeBehind(f"transaction {row.signature} is in the account's history but has no content")
        return landed

    async def patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask, again and again for some 15 s while the node has only faults to offer."""
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


class SolanaHistory:
    """What reconciling and re-booking read from a node: implements `AccountHistory` and `OwnersHistory`.

    Args:
        page: see `HistoryWalk`.
    """

    def __init__(self, rpc: NodeRpc, page: int = PAGE) -> None:
        self._rpc = rpc
        self._chain = SolanaChain(rpc)
        self._walk = HistoryWalk(self._chain, page)

    async def finalized_tip(self) -> Tip:
        """See `SolanaChain`."""
        return await self._chain.finalized_tip()

    async def first_available_slot(self) -> int:
        """See `SolanaChain`."""
        return await self._chain.first_available_slot()

    async def latest_blockhash(self) -> Blockhash:
        """See `SolanaChain`."""
        return await self._chain.latest_blockhash()

    async def token_account(
        self, address: str, *, final: bool = False, min_slot: int | None = None
    ) -> TokenAccount | None:
        """See `SolanaChain`."""
        return await self._chain.token_account(address, final=final, min_slot=min_slot)

    def batches(
        self, payer: Payer, *, up_to_slot: int, before: str | None, until: HistoryPosition | None, min_slot: int
    ) -> AsyncIterator[HistoryBatch]:
        """See `HistoryWalk`."""
        return self._walk.batches(payer, up_to_slot=up_to_slot, before=before, until=until, min_slot=min_slot)

    async def payers_from(self, account: TokenAccount) -> dict[str, int]:
        """See `HistoryWalk`."""
        return await self._walk.payers_from(account)

    async def memo(self, signature: str) -> str | None:
        """The text of the transaction's memo; None when it has none, or more than one.

        Raises:
            NodeBehind: the node does not show the transaction.
        """
        found = await self._chain.content(signature, "finalized")
        if found is None:
            raise NodeBehind(f"transaction {signature} has no content here")
        memos = memos_of(found.transaction, MEMOS)
        return memos[0] if len(memos) == 1 else None

    async def accounts_of(self, owner: str, mint: str) -> Sequence[TokenAccount]:
        """The wallet's token accounts of that mint at finalized, without its associated one."""
        config = {"encoding": "base64", "commitment": "finalized"}
        answer = Answer[AsOfSlot[list[OwnedAccount]]]
        listed = await self._rpc.ask("getTokenAccountsByOwner", owner, {"mint": mint}, config, answer=answer)
        wallet, wanted = Pubkey.from_string(owner), Pubkey.from_string(mint)
        found = []
        for each in listed.value:
            account = read_token_account(each.pubkey, each.account, listed.context.slot)
            if account is None:  # of no token program that we know
                continue
            home = get_associated_token_address(wallet, wanted, Pubkey.from_string(each.account.owner))
            if each.pubkey != str(home):
                found.append(account)
        return found
