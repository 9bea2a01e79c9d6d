"""Anchors on the Solana chain: builds, sends and reads the memo that commits to the ledger's chains of events.

An anchor is in the ledger, signed bytes and all, before it leaves. After a crash anywhere the next run finds it
PENDING: it looks whether it landed, sends the same bytes again while they can still land, and gives it up as DEAD
once the finalized block height has passed what its blockhash allows. At worst something is anchored twice.
"""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple, Protocol
from uuid import UUID

from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.transaction import VersionedTransaction
from spl.memo.constants import MEMO_PROGRAM_ID
from spl.memo.instructions import create_memo
from spl.memo.models import MemoParams

from autopay.adapters.solana.answers import U64, Answer, AsOfSlot, SignatureText
from autopay.adapters.solana.chain import SolanaChain, memos_of
from autopay.adapters.solana.history import HistoryWalk
from autopay.adapters.solana.rpc import NodeRpc
from autopay.domain.audit.anchor import (
    MEMO_PREFIX,
    Anchor,
    AnchorOnChain,
    AnchorState,
    format_heads,
    memo_text,
    root_hash,
)
from autopay.domain.audit.events import Head
from autopay.domain.errors import PermanentFault, TransientFault
from autopay.domain.network import Network
from autopay.domain.payment.chain import Blockhash, LandedTransaction, Tip
from autopay.uuid7 import uuid7

POLL_S = 0.4  # a slot


class AnchorRefused(PermanentFault):
    """The ledger cannot be anchored."""


class AnchorStore(Protocol):
    """The ledger, as far as anchors go."""

    async def heads(self) -> Sequence[Head]: ...

    async def pending_anchor(self, network: Network) -> Anchor | None: ...

    async def last_anchor(self, network: Network) -> Anchor | None: ...

    async def record_anchor(self, anchor: Anchor) -> bool:
        """Write-ahead; False when another one of the network is under way."""
        ...

    async def close_anchor(self, anchor_id: UUID, state: AnchorState, slot: int | None) -> None: ...


class AnchorResult(NamedTuple):
    """What came of it; `fresh` is False when nothing had changed since that anchor."""

    anchor: Anchor
    heads: int
    fresh: bool


class AnchorChain:
    """A Solana node that is told anchors, and asked for them; implements the port `AuditedChain`."""

    def __init__(self, rpc: NodeRpc) -> None:
        self._rpc = rpc
        self._chain = SolanaChain(rpc)
        self._walk = HistoryWalk(self._chain)

    async def finalized_tip(self) -> Tip:
        """See `SolanaChain`."""
        return await self._chain.finalized_tip()

    async def first_available_slot(self) -> int:
        """See `SolanaChain`."""
        return await self._chain.first_available_slot()

    async def latest_blockhash(self) -> Blockhash:
        """See `SolanaChain`."""
        return await self._chain.latest_blockhash()

    async def final_transaction(self, signature: str) -> LandedTransaction | None:
        """See `SolanaChain`."""
        return await self._chain.final_transaction(signature)

    async def anchor(self, signature: str) -> AnchorOnChain | None:
        """The finalized transaction with its memos; None when there is none, or it failed."""
        return await self._walk.patiently(lambda: self._memos(signature))

    async def anchors_of(self, payer: str) -> AsyncIterator[AnchorOnChain]:
        """Every anchor that this wallet paid for, newest first; others may name it, so its signature counts."""
        tip = await self._walk.patiently(self.finalized_tip)
        async for page in self._walk.pages(payer, None, tip.slot):
            for row in page:
                if row.failed or MEMO_PREFIX not in (row.memos or ""):
                    continue
                seen = await self.anchor(row.signature)
                if seen is not None and seen.payer == payer and any(_is_anchor(memo) for memo in seen.memos):
                    yield seen

    async def send(self, wire: bytes) -> None:
        """Hand the bytes over; whether they land is seen later."""
        config = {"encoding": "base64", "skipPreflight": True}
        await self._rpc.ask("sendTransaction", b64encode(wire).decode(), config, answer=Answer[SignatureText])

    async def lamports(self, wallet: str) -> int:
        """What the wallet can pay fees with, at confirmed."""
        found = await self._rpc.ask("getBalance", wallet, {"commitment": "confirmed"}, answer=Answer[AsOfSlot[U64]])
        return found.value

    async def _memos(self, signature: str) -> AnchorOnChain | None:
        found = await self._chain.content(signature, "finalized")
        if found is None or found.meta is None or found.meta.err is not None:
            return None
        payer = str(found.transaction.message.account_keys[0])
        memos = memos_of(found.transaction, (MEMO_PROGRAM_ID,))
        return AnchorOnChain(signature=signature, slot=found.slot, payer=payer, memos=tuple(memos))


async def anchor_now(book: AnchorStore, chain: AnchorChain, key: Keypair, network: Network) -> AnchorResult:
    """Anchor the heads of all chains as they are now, and return once that is final.

    Raises:
        AnchorRefused: there is nothing to anchor, the wallet has no SOL, or the transaction never landed.
        ChainUnavailable: the node does not answer; run it again.
    """
    while True:
        under_way = await book.pending_anchor(network)
        settled = await _settle(book, chain, under_way) if under_way is not None else None
        heads = await book.heads()
        lines = format_heads(heads)
        if not heads:
            raise AnchorRefused("nothing has ever happened in this ledger")
        last = await book.last_anchor(network)
        if last is not None and last.root == root_hash(lines):
            return AnchorResult(last, len(heads), fresh=settled is not None)
        if await chain.lamports(str(key.pubkey())) == 0:
            raise AnchorRefused(f"wallet {key.pubkey()} has no SOL for the fee")
        anchor = signed_anchor(lines, key, await chain.latest_blockhash(), network)
        if await book.record_anchor(anchor):
            settled = await _settle(book, chain, anchor)
            if settled is None:
                raise AnchorRefused(f"transaction {anchor.signature} did not land in time; run it again")
            return AnchorResult(settled, len(heads), fresh=True)


def signed_anchor(lines: bytes, key: Keypair, recent: Blockhash, network: Network) -> Anchor:
    """The anchor of these heads, signed and not sent."""
    root = root_hash(lines)
    params = MemoParams(program_id=MEMO_PROGRAM_ID, signer=key.pubkey(), message=memo_text(root).encode())
    message = MessageV0.try_compile(key.pubkey(), [create_memo(params)], [], Hash.from_string(recent.blockhash))
    transaction = VersionedTransaction(message, [key])
    return Anchor(
        id=uuid7(),
        network=network,
        root=root,
        heads=lines,
        payer=str(key.pubkey()),
        signature=str(transaction.signatures[0]),
        wire=bytes(transaction),
        last_valid_block_height=recent.last_valid_block_height,
        status=AnchorState.PENDING,
        slot=None,
        created_at=datetime.now(UTC),
    )


async def _settle(book: AnchorStore, chain: AnchorChain, anchor: Anchor) -> Anchor | None:
    """Send it until it is final; None when it can never be."""
    while True:
        height = (await chain.finalized_tip()).block_height
        seen = await chain.anchor(anchor.signature)
        if seen is not None:
            await book.close_anchor(anchor.id, AnchorState.FINALIZED, seen.slot)
            return anchor.model_copy(update={"status": AnchorState.FINALIZED, "slot": seen.slot})
        if height > anchor.last_valid_block_height:
            await book.close_anchor(anchor.id, AnchorState.DEAD, None)
            return None
        with suppress(TransientFault):  # perhaps it has the bytes already: what counts is what lands
            await chain.send(anchor.wire)
        await asyncio.sleep(POLL_S)


def _is_anchor(memo: str) -> bool:
    return memo.startswith(MEMO_PREFIX)
