"""Walks an account's finalized history page by page; implements the port `ChainWalk` of a reconciliation.

Not `Chain.history`, which gathers everything in memory: an account may have years of it. What must not live here:
comparing with the ledger.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

from solders.rpc import requests, responses
from solders.rpc.config import RpcTransactionConfig
from solders.signature import Signature
from solders.transaction import VersionedTransaction
from solders.transaction_status import UiTransactionEncoding

from autopay.adapters.chain import FINALIZED, PAGE, SolanaChain, read_landed
from autopay.domain.attempt import Landed, Sighting
from autopay.domain.errors import NodeBehind, TransientFault
from autopay.domain.network import Network
from autopay.domain.reconcile import Payer
from autopay.domain.reconcile_marks import Batch, Mark, Seen
from autopay.domain.reconcile_run import CheckpointForeign

AT_ONCE = 8
"""getTransaction calls in flight; public nodes limit 40 a method in 10 s (docs.solana.com, clusters)."""

TRIES = 6
FIRST_WAIT_S = 0.5
"""Doubles: a node that limits or lags is given 15 s in all."""

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
        self, payer: Payer, *, up_to_slot: int, before: str | None, until: Mark | None, min_slot: int
    ) -> AsyncIterator[Batch]:
        """Batches of about a page, cut between slots; see the port.

        Raises:
            CheckpointForeign: the history does not have `until`.
        """
        top, held = up_to_slot, list[Sighting]()
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

    async def final_transaction(self, signature: str) -> Landed | None:
        """The transaction at finalized; None when the node does not show it."""
        parsed = Signature.from_string(signature)
        config = RpcTransactionConfig(UiTransactionEncoding.Base64, FINALIZED, 0)
        found = (await self._ask(requests.GetTransaction(parsed, config), responses.GetTransactionResp)).value
        if found is None or found.transaction.meta is None:
            return None
        content = found.transaction.transaction
        assert isinstance(content, VersionedTransaction)
        return read_landed(content, signature, found.slot, failed=found.transaction.meta.err is not None, final=True)

    async def _known(self, before: str | None) -> str | None:
        """Where to go on; from the top when the node does not know it, as it would show an empty history then."""
        if before is None:
            return None
        found = await self._patiently(lambda: self.final_transaction(before))
        return before if found is not None else None

    async def _pages(self, account: str, before: str | None, min_slot: int) -> AsyncIterator[Sequence[Sighting]]:
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
                Sighting(signature=str(row.signature), slot=row.slot, failed=row.err is not None, memos=row.memo)
                for row in rows
            ]

    async def _batch(self, payer: Payer, rows: Sequence[Sighting], *, above_slot: int, up_to_slot: int) -> Batch:
        seen = await asyncio.gather(*(self._seen(payer, row) for row in rows))
        return Batch(above_slot=above_slot, up_to_slot=up_to_slot, seen=tuple(seen))

    async def _seen(self, payer: Payer, row: Sighting) -> Seen:
        if row.failed:
            return Seen(signature=row.signature, slot=row.slot)
        async with self._slots:
            landed = await self._patiently(lambda: self._content(row))
        ours = [each for each in landed.transfers if (each.source, each.authority) == _of(payer)]
        return Seen(signature=row.signature, slot=row.slot, message_hash=landed.message_hash, transfers=tuple(ours))

    async def _content(self, row: Sighting) -> Landed:
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
