"""Slots, blocks and commitments: what time means on this chain.

A slot is a tick of the clock, a block is what a slot holds; some slots stay empty, so heights fall behind slots. A
slot that is skipped can be told from outside only by its missing block. Commitment is a plain distance in slots from
the newest block: a cluster votes, this chain counts. After a restart the chain goes on with a gap of empty slots,
which makes everything before it final.
"""

from bisect import bisect_right
from dataclasses import dataclass
from enum import StrEnum

from solders.hash import Hash

FIRST_SLOT = 400_000_000  # devnet's order of magnitude, so that nobody takes a height for a slot
FIRST_HEIGHT = 388_000_000
BLOCKHASH_LIFETIME = 150  # blocks; Agave's MAX_PROCESSING_AGE
KEPT_BLOCKS = 2_000
RESTART_GAP = 64  # slots
SLOTS_PER_EPOCH = 432_000
SKIP_EVERY = 12  # one slot in so many has no block; on devnet it is a few percent


class Commitment(StrEnum):
    """How sure a reader wants to be that a block stays."""

    PROCESSED = "processed"
    CONFIRMED = "confirmed"
    FINALIZED = "finalized"


DEPTH = {Commitment.PROCESSED: 0, Commitment.CONFIRMED: 2, Commitment.FINALIZED: 32}  # slots behind the newest


@dataclass(frozen=True, slots=True)
class Block:
    """A slot that holds a block; `time` in Unix seconds."""

    slot: int
    height: int
    blockhash: Hash
    time: int

    @property
    def last_valid_height(self) -> int:
        """The last block height at which a transaction with this block's hash may land."""
        return self.height + BLOCKHASH_LIFETIME


def is_skipped(slot: int) -> bool:
    """Whether a slot stays without a block; fixed by its number, so that a run can be repeated."""
    return slot % SKIP_EVERY == SKIP_EVERY - 1


class BlockWindow:
    """The newest blocks, oldest first; at least one."""

    def __init__(self, blocks: list[Block]) -> None:
        assert blocks
        self._blocks = blocks
        self._slots = [block.slot for block in blocks]
        self._by_hash = {block.blockhash: block for block in blocks}

    @property
    def tip(self) -> Block:
        """The newest block."""
        return self._blocks[-1]

    @property
    def oldest(self) -> Block:
        """The oldest block that is still held."""
        return self._blocks[0]

    def append(self, block: Block) -> None:
        """Add the next block and now and then forget what exceeds the window."""
        assert block.slot > self.tip.slot
        assert block.height == self.tip.height + 1
        self._blocks.append(block)
        self._slots.append(block.slot)
        self._by_hash[block.blockhash] = block
        if len(self._blocks) > KEPT_BLOCKS + KEPT_BLOCKS // 4:
            for old in self._blocks[:-KEPT_BLOCKS]:
                del self._by_hash[old.blockhash]
            del self._blocks[:-KEPT_BLOCKS], self._slots[:-KEPT_BLOCKS]

    def at(self, slot: int) -> Block:
        """The newest block at or before a slot; before the window, its oldest."""
        return self._blocks[max(bisect_right(self._slots, slot) - 1, 0)]

    def of(self, blockhash: Hash) -> Block | None:
        """The block with this hash, as far back as the window goes."""
        return self._by_hash.get(blockhash)

    def newest(self, count: int, until: Block) -> list[Block]:
        """Up to `count` blocks that end with `until`, oldest first."""
        end = bisect_right(self._slots, until.slot)
        return self._blocks[max(end - count, 0) : end]


class ChainView:
    """The chain as one node sees it, which may be some slots behind the newest block."""

    def __init__(self, window: BlockWindow, lag_slots: int) -> None:
        self.window = window
        self.tip = window.at(window.tip.slot - lag_slots)

    def block(self, commitment: Commitment) -> Block:
        """The newest block that has this commitment."""
        return self.window.at(self.tip.slot - DEPTH[commitment])

    def accepts(self, blockhash: Hash, block: Block) -> bool:
        """Whether a transaction with this blockhash may land in `block`."""
        origin = self.window.of(blockhash)
        return origin is not None and origin.slot <= block.slot and block.height <= origin.last_valid_height

    def commitment(self, slot: int) -> Commitment:
        """The commitment that a slot has reached; the slot must not be newer than this view."""
        for commitment in (Commitment.FINALIZED, Commitment.CONFIRMED):
            if slot <= self.block(commitment).slot:
                return commitment
        return Commitment.PROCESSED

    def confirmations(self, slot: int) -> int | None:
        """Blocks on top of a slot's block; None when it is final."""
        if self.commitment(slot) is Commitment.FINALIZED:
            return None
        return self.tip.height - self.window.at(slot).height
