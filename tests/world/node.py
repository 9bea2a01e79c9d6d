"""Implements the port `Chain` over the simulated cluster, as RPC nodes do: behind, forgetful, or not there at all.

Nodes change by spells: for a while, all or some of the calls reach a node in a bad state, as behind a load balancer
that chooses by chance or by method.
"""

from collections.abc import Sequence
from dataclasses import dataclass

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
from tests.field.quirks import QUIRKS
from tests.world.chain import BLOCKHASH_BLOCKS, FIRST_SLOT, ChainTransaction, SimChain
from tests.world.clock import now_ms
from tests.world.odd_answers import account_result, node_saying, odd_answer

LATENCY_MS = 150
MAX_SLOT = 2**63
ARCHIVE = frozenset({"history", "transaction", "statuses"})
DATA = ARCHIVE | {"token_account", "first_available_slot"}
SPELLS = ("unavailable", "lagging", "forgetful", "lying", "unindexed", "ignores_min_slot")
ODD_ANSWERS = sorted(QUIRKS)


@dataclass(frozen=True)
class View:
    """One node: `lag` slots behind, without history before `remembers_from`; a lying one does not say so.

    `indexed_until`: the last slot that its index of transactions has, whatever slot its bank is at.
    """

    lag: int = 0
    remembers_from: int = FIRST_SLOT
    indexed_until: int = MAX_SLOT
    lies: bool = False
    ignores_min_slot: bool = False
    available: bool = True

    def remembers(self, transaction: ChainTransaction) -> bool:
        """Whether the node has the transaction, if it has seen it at all."""
        return self.remembers_from <= transaction.slot <= self.indexed_until


GOOD = View()


class SimNode:
    """The endpoint that the product talks to. One that `rounds_numbers` writes them as JavaScript does, for ever."""

    def __init__(self, chain: SimChain, genesis: str, mints: Sequence[str], latency_ms: int = LATENCY_MS) -> None:
        self.chain = chain
        self._faults = chain.faults
        self._genesis = genesis
        self._mints = frozenset(mints)
        self._latency_ms = latency_ms
        self.rounds_numbers = False
        self._spell = GOOD
        self._spell_ends_ms = 0
        self._spell_share = 1.0
        self._spell_on: frozenset[str] | None = None

    async def _reach(self, method: str) -> View:
        await self._faults.enter(f"chain.{method}", self._latency_ms)
        view = self._view(method)
        if not view.available:
            raise ChainUnavailable("simulated")
        if self._faults.strikes("chain.odd_answer"):
            odd = self._faults.rng.choice(ODD_ANSWERS)
            believed = await odd_answer(method, odd)
            self._faults.trace.add("believed", method=method, odd=odd, made_of_it=str(believed))
        self._faults.leave(f"chain.{method}")
        return view

    def _view(self, method: str) -> View:
        if self._faults.quiet:
            return GOOD
        if now_ms() > self._spell_ends_ms:
            kind = next((each for each in SPELLS if self._faults.strikes(f"chain.{each}")), None)
            if kind is None:
                return GOOD
            self._begin(kind)
        if self._spell_on is not None and method not in self._spell_on:
            return GOOD
        return self._spell if self._faults.rng.random() <= self._spell_share else GOOD

    def _begin(self, kind: str) -> None:
        rng, slot = self._faults.rng, self.chain.slot_now()
        self._spell_ends_ms = now_ms() + rng.choice((0, 2_000, 20_000, 100_000, 300_000))
        self._spell_share = rng.choice((1.0, 1.0, 0.6))
        self._spell_on = rng.choice((None, ARCHIVE, DATA, DATA))
        horizon = slot - rng.choice((1, 20, 60, 150))
        self._spell = {
            "unavailable": View(available=False),
            "lagging": View(lag=rng.choice((1, 3, 20, 60, 200, 240))),
            "forgetful": View(remembers_from=horizon),
            "lying": View(remembers_from=horizon, lies=True),
            "unindexed": View(indexed_until=slot, lies=True),
            "ignores_min_slot": View(lag=rng.choice((60, 200, 240)), ignores_min_slot=True),
        }[kind]

    def _reads_at(self, view: View, final: bool, min_slot: int | None) -> int:
        slot = self.chain.final_slot(view.lag) if final else self.chain.confirmed_slot(view.lag)
        if min_slot is not None and slot < min_slot and not view.ignores_min_slot:
            raise NodeBehind(f"at slot {slot}")
        return slot

    async def genesis_hash(self) -> str:
        """The network's."""
        await self._reach("genesis_hash")
        return self._genesis

    async def latest_blockhash(self) -> Blockhash:
        """The newest at confirmed, of this node."""
        view = await self._reach("latest_blockhash")
        slot = self._reads_at(view, False, None)
        if self._faults.strikes("chain.stale_blockhash"):
            slot = self.chain.newest_block(slot - self._faults.rng.choice((20, 100, 149, 200)))
        height = self.chain.height_at(slot) + BLOCKHASH_BLOCKS
        return Blockhash(blockhash=self.chain.blockhash_of(slot), slot=slot, last_valid_block_height=height)

    async def finalized_tip(self) -> Tip:
        """Slot and height of finality on this node."""
        view = await self._reach("finalized_tip")
        slot = self._reads_at(view, True, None)
        return Tip(slot=slot, block_height=self.chain.height_at(slot))

    async def first_available_slot(self) -> int:
        """The oldest slot that the node says it holds."""
        view = await self._reach("first_available_slot")
        return FIRST_SLOT if view.lies else view.remembers_from

    async def mint_facts(self, mint: str) -> MintFacts | None:
        """Six decimals, and nothing that speaks against it."""
        await self._reach("mint_facts")
        return MintFacts(mint=mint, program="token", decimals=6) if mint in self._mints else None

    async def token_account(
        self, address: str, *, final: bool = False, min_slot: int | None = None
    ) -> TokenAccount | None:
        """The account at the slot of the reading, as the product's client reads it."""
        view = await self._reach("token_account")
        slot = self._reads_at(view, final, min_slot)
        state = self.chain.state(address, slot)
        if state is None:
            return None
        result = account_result(state, slot, rounded=self.rounds_numbers)
        return await node_saying(result=result).token_account(address, final=final, min_slot=min_slot)

    async def newest_signature(self, account: str) -> str | None:
        """The newest that this node has confirmed."""
        view = await self._reach("newest_signature")
        rows = self._rows(view, account, self._reads_at(view, False, None))
        return rows[0].signature if rows else None

    async def history(
        self, account: str, *, until: str | None, final: bool, min_slot: int | None
    ) -> Sequence[HistoryEntry]:
        """Newest first; `until` ends it if the node knows it, as getSignaturesForAddress does."""
        view = await self._reach("history")
        sightings = []
        for row in self._rows(view, account, self._reads_at(view, final, min_slot)):
            if row.signature == until:
                break
            memos = None if self._faults.strikes("chain.memo_not_kept") else f"[{len(row.memo)}] {row.memo}"
            failed = row.error is not None
            sightings.append(HistoryEntry(signature=row.signature, slot=row.slot, failed=failed, memos=memos))
        return sightings

    async def transaction(self, signature: str) -> LandedTransaction | None:
        """At least confirmed on this node; None when it knows nothing of it."""
        view = await self._reach("transaction")
        found = self.chain.by_signature.get(signature)
        if found is None or found.slot > self._reads_at(view, False, None) or not view.remembers(found):
            return None
        if self._faults.strikes("chain.status_without_content"):
            raise NodeBehind(f"transaction {signature} has a status but no content")
        final = found.slot <= self._reads_at(view, True, None)
        return _landed(found, final=final)

    async def statuses(self, signatures: Sequence[str]) -> Sequence[TransactionState | None]:
        """Each at least confirmed on this node; None when it knows nothing of it."""
        view = await self._reach("statuses")
        confirmed, final = self._reads_at(view, False, None), self._reads_at(view, True, None)
        found = [self.chain.by_signature.get(each) for each in signatures]
        return [
            TransactionState(slot=each.slot, failed=each.error is not None, final=each.slot <= final)
            if each is not None and each.slot <= confirmed and view.remembers(each)
            else None
            for each in found
        ]

    def _rows(self, view: View, account: str, slot: int) -> list[ChainTransaction]:
        rows = self.chain.history.get(account, [])
        return [row for row in reversed(rows) if row.slot <= slot and view.remembers(row)]


def _landed(found: ChainTransaction, *, final: bool) -> LandedTransaction:
    transfer = Transfer(
        source=found.source,
        mint=found.mint,
        destination=found.destination,
        authority=found.authority,
        amount_atomic=found.amount,
    )
    return LandedTransaction(
        signature=found.signature,
        slot=found.slot,
        failed=found.error is not None,
        final=final,
        message_hash=found.message_hash,
        signatures=(found.signature, found.buyer_signature),
        transfers=(transfer,),
    )
