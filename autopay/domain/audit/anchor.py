"""Anchors: one hash over the heads of all event chains, written into a memo on the Solana chain.

The format: one line `AGENT SEQ HASH` for each head (UUID, decimal, hex), each ended by a newline, sorted as bytes; the
root is the SHA-256 of these lines, in hex; the memo is `autopay-ledger-anchor:1:` and the root. No Merkle tree: whoever
checks an anchor has all heads anyway.
"""

import hashlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from autopay.domain.audit.events import Head
from autopay.domain.network import Network
from autopay.domain.values import Value

MEMO_PREFIX = "autopay-ledger-anchor:1:"


class AnchorState(StrEnum):
    """PENDING: recorded, perhaps sent. FINALIZED: final on chain. DEAD: proven never to land."""

    PENDING = "PENDING"
    FINALIZED = "FINALIZED"
    DEAD = "DEAD"


class Anchor(Value):
    """An anchor as the ledger has it; `heads` is its text (`format_heads`), `wire` the signed transaction."""

    id: UUID
    network: Network
    root: str
    heads: bytes
    payer: str
    signature: str
    wire: bytes
    last_valid_block_height: int
    status: AnchorState
    slot: int | None
    created_at: datetime


class AnchorOnChain(Value):
    """A finalized transaction: who paid its fee, and the memos in it."""

    signature: str
    slot: int
    payer: str
    memos: tuple[str, ...]


def format_heads(heads: Iterable[Head]) -> bytes:
    """The heads as the text that an anchor hashes."""
    return b"".join(sorted(f"{head.agent_id} {head.seq} {head.hash.hex()}\n".encode() for head in heads))


def root_hash(lines: bytes) -> str:
    """The SHA-256 of that text, in hex."""
    return hashlib.sha256(lines).hexdigest()


def memo_text(root: str) -> str:
    """The text of the anchor's memo on chain."""
    return MEMO_PREFIX + root


def parse_heads(lines: bytes) -> Iterator[Head]:
    """The heads that the text of an anchor lists.

    Raises:
        ValueError: a line does not have the format.
    """
    for line in lines.decode().splitlines():
        agent_id, seq, digest = line.split(" ")
        yield Head(agent_id=UUID(agent_id), seq=int(seq), hash=bytes.fromhex(digest))


def anchor_mismatch(anchor: Anchor, found: AnchorOnChain | None) -> str | None:
    """Why the transaction on chain does not prove this FINALIZED anchor; None when it does."""
    if found is None:
        return f"transaction {anchor.signature} is not on chain, or not final"
    if found.payer != anchor.payer:
        return f"transaction {anchor.signature} was paid by {found.payer}, not by {anchor.payer}"
    if memo_text(anchor.root) not in found.memos:
        return f"transaction {anchor.signature} has another memo: {', '.join(found.memos) or 'none'}"
    return None if found.slot == anchor.slot else f"it landed in slot {found.slot}, recorded is {anchor.slot}"
