"""A Solana cluster in memory, as it truly is: what nodes say of it is another matter (`node.py`).

Slots follow the clock, some have no block, so height and slot differ. A message executes at most once, only while
its blockhash is at most 150 blocks old, and a delegate's transfers use up its allowance.
"""

import asyncio
from bisect import bisect_right
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from tests.world.clock import now_ms
from tests.world.faults import Faults
from tests.world.vault import digest, message_hash_of, signature_by, transaction_id

SLOT_MS = 400
FIRST_SLOT = 5_000
FIRST_HEIGHT = 4_000
BLOCKHASH_BLOCKS = 150
CONFIRMED_DEPTH = 2
FINALIZED_DEPTH = 32


@dataclass(frozen=True, slots=True)
class TokenState:
    """A token account from a slot on."""

    slot: int
    owner: str
    mint: str
    amount: int
    delegate: str | None = None
    delegated: int = 0


@dataclass(frozen=True, slots=True)
class ChainTransaction:
    """A transaction in a block; `error` is None when it had its effect. `accounts` are those whose history has it."""

    signature: str
    slot: int
    height: int
    at_ms: int
    message_hash: str
    buyer_signature: str
    memo: str
    source: str
    mint: str
    destination: str
    authority: str
    amount: int
    error: str | None
    accounts: tuple[str, ...] = field(default=())


class SimChain:
    """The truth. `transactions` is every transaction that ever landed, in order."""

    def __init__(self, faults: Faults, skip_rate: float = 0.05) -> None:
        self.faults = faults
        self.transactions: list[ChainTransaction] = []
        self.by_signature: dict[str, ChainTransaction] = {}
        self.by_message: dict[str, ChainTransaction] = {}
        self.history: dict[str, list[ChainTransaction]] = {}
        self.accounts: dict[str, list[TokenState]] = {}
        self._skips = Random(faults.rng.random())  # noqa: S311
        self._skip_rate = skip_rate
        self._heights = [FIRST_HEIGHT]
        self._has_block = [True]

    # Slots and heights

    def slot_now(self) -> int:
        """The slot that is being produced."""
        return FIRST_SLOT + now_ms() // SLOT_MS

    def _grow(self, slot: int) -> int:
        index = slot - FIRST_SLOT
        while len(self._heights) <= index:
            block = self._skips.random() >= self._skip_rate
            self._has_block.append(block)
            self._heights.append(self._heights[-1] + block)
        return index

    def has_block(self, slot: int) -> bool:
        """Whether the slot's leader made a block."""
        return self._has_block[self._grow(slot)]

    def height_at(self, slot: int) -> int:
        """The number of the newest block at or before the slot."""
        return self._heights[self._grow(slot)]

    def newest_block(self, slot: int) -> int:
        """The newest slot at or before `slot` that has a block; the first slot always has one."""
        slot = max(slot, FIRST_SLOT)
        while not self.has_block(slot):
            slot -= 1
        return slot

    def confirmed_slot(self, lag: int = 0) -> int:
        """The newest confirmed block, as a node sees it that is `lag` slots behind."""
        return self.newest_block(self.slot_now() - CONFIRMED_DEPTH - lag)

    def final_slot(self, lag: int = 0) -> int:
        """The newest finalized block, as a node sees it that is `lag` slots behind."""
        return self.newest_block(self.slot_now() - FINALIZED_DEPTH - lag)

    def final_height_at(self, at_ms: int) -> int:
        """The finalized block height at a moment."""
        return self.height_at(self.newest_block(FIRST_SLOT + at_ms // SLOT_MS - FINALIZED_DEPTH))

    @staticmethod
    def blockhash_of(slot: int) -> str:
        """The blockhash of the block in that slot."""
        return f"blockhash{slot}"

    def last_valid_height(self, blockhash: str) -> int:
        """The last block that accepts the blockhash."""
        return self.height_at(int(blockhash.removeprefix("blockhash"))) + BLOCKHASH_BLOCKS

    # Token accounts

    def state(self, account: str, slot: int) -> TokenState | None:
        """The account as of the end of that slot."""
        states = self.accounts.get(account, [])
        index = bisect_right(states, slot, key=lambda each: each.slot)
        return states[index - 1] if index else None

    def newest_state(self, account: str) -> TokenState:
        """The account now."""
        return self.accounts[account][-1]

    def open_account(self, address: str, owner: str, mint: str, amount: int = 0) -> None:
        """A token account that exists from the beginning."""
        self.accounts[address] = [TokenState(FIRST_SLOT, owner, mint, amount)]

    def approve(self, address: str, delegate: str | None, allowance: int) -> None:
        """The owner names a delegate, in place of any other; None revokes."""
        self._change(address, delegate=delegate, delegated=allowance if delegate else 0)

    def owner_moves(self, address: str, amount: int) -> None:
        """The owner pays in (above 0) or takes out (below 0), at most what is there."""
        self._change(address, amount=max(0, self.newest_state(address).amount + amount))

    def _change(self, address: str, **changes: Any) -> None:
        state = replace(self.newest_state(address), slot=max(self.slot_now(), FIRST_SLOT), **changes)
        if state.delegated == 0:
            state = replace(state, delegate=None)
        self.accounts[address].append(state)

    # Transactions

    def broadcast(self, message: dict[str, Any], buyer_signature: str, delay_ms: int = 0) -> str:
        """Hand a signed message to the cluster; it lands after the delay if it then still may. Returns its id."""
        message_hash = message_hash_of(message)
        if buyer_signature == signature_by(str(message["authority"]), message_hash):
            asyncio.get_running_loop().call_later(delay_ms / 1000, self._arrive, message, buyer_signature, True)
        return transaction_id(message_hash)

    def spoof(self, account: str, memo: str, *, failed: bool) -> None:
        """A stranger's transaction that names the account, under any memo."""
        count = len(self.transactions)
        message = {"stranger": count, "memo": memo, "source": "stranger", "mint": "", "authority": "stranger"}
        message |= {"destination": account, "amount": 0}
        self._record(message, digest("stranger", count), "spoofed" if failed else None)

    def _arrive(self, message: dict[str, Any], buyer_signature: str, may_fail: bool) -> None:
        """Execute in this slot, or the next that has a block."""
        if not self.has_block(self.slot_now()):
            asyncio.get_running_loop().call_later(SLOT_MS / 1000, self._arrive, message, buyer_signature, may_fail)
            return
        if message_hash_of(message) in self.by_message:
            return
        if self.height_at(self.slot_now()) > self.last_valid_height(message["blockhash"]):
            return
        error = self._error(message)
        if error is not None and self.faults.rng.random() < 0.5:
            return  # the simulation before the block sees it too: dropped, nothing lands
        if error is None and may_fail and self.faults.strikes("chain.lands_with_error"):
            error = "AccountFrozen"
        if error is None:
            self._transfer(message)
        self._record(message, buyer_signature, error)

    def _error(self, message: dict[str, Any]) -> str | None:
        state, amount = self.newest_state(message["source"]), int(message["amount"])
        if state.delegate != message["authority"] or state.delegated < amount:
            return "OwnerMismatch"
        if state.amount < amount:
            return "InsufficientFunds"
        return None if message["destination"] in self.accounts else "InvalidAccountData"

    def _transfer(self, message: dict[str, Any]) -> None:
        amount, source = int(message["amount"]), self.newest_state(message["source"])
        self._change(message["source"], amount=source.amount - amount, delegated=source.delegated - amount)
        payee = self.newest_state(message["destination"])
        self._change(message["destination"], amount=payee.amount + amount)

    def _record(self, message: dict[str, Any], buyer_signature: str, error: str | None) -> None:
        message_hash, slot = message_hash_of(message), self.newest_block(self.slot_now())
        landed = ChainTransaction(
            signature=transaction_id(message_hash),
            slot=slot,
            height=self.height_at(slot),
            at_ms=now_ms(),
            message_hash=message_hash,
            buyer_signature=buyer_signature,
            memo=message["memo"],
            source=message["source"],
            mint=message["mint"],
            destination=message["destination"],
            authority=message["authority"],
            amount=int(message["amount"]),
            error=error,
            accounts=(message["source"], message["destination"]),
        )
        self.transactions.append(landed)
        self.by_signature[landed.signature] = self.by_message[message_hash] = landed
        for account in landed.accounts:
            self.history.setdefault(account, []).append(landed)
        self.faults.trace.add("landed", signature=landed.signature[:12], slot=slot, amount=landed.amount, error=error)
