"""Anchors: one hash over the heads of all chains, written into a memo on the Solana chain. Pure.

The construction: a line `AGENT SEQ HASH` for each head (UUID, decimal, hex), ended by a newline, sorted as bytes; the
root is the SHA-256 of these lines, in hex; the memo is `autopay-ledger-anchor:1:` and the root. No tree: whoever
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
    """Recorded and perhaps sent; final on chain; or proven never to land."""

    PENDING = "PENDING"
    FINALIZED = "FINALIZED"
    DEAD = "DEAD"


class Anchor(Value):
    """An anchor as the ledger has it; `wire` is the signed transaction."""

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
    """A finalized transaction that its payer signed, and the memos in it."""

    signature: str
    slot: int
    payer: str
    memos: tuple[str, ...]


def lines_of(heads: Iterable[Head]) -> bytes:
    """The heads in the anchor's form."""
    return b"".join(sorted(f"{head.agent_id} {head.seq} {head.hash.hex()}\n".encode() for head in heads))


def root_of(lines: bytes) -> str:
    """The hash that commits to them."""
    return hashlib.sha256(lines).hexdigest()


def memo_of(root: str) -> str:
    """The memo's text."""
    return MEMO_PREFIX + root


def heads_in(lines: bytes) -> Iterator[Head]:
    """The heads of an anchor.

    Raises:
        ValueError: a line is not in the anchor's form.
    """
    for line in lines.decode().splitlines():
        agent_id, seq, digest = line.split(" ")
        yield Head(agent_id=UUID(agent_id), seq=int(seq), hash=bytes.fromhex(digest))


def chain_misfit(anchor: Anchor, seen: AnchorOnChain | None) -> str | None:
    """Why the chain does not prove a FINALIZED anchor, if so."""
    if seen is None:
        return f"transaction {anchor.signature} is not on chain, or not final"
    if seen.payer != anchor.payer:
        return f"transaction {anchor.signature} was paid by {seen.payer}, not by {anchor.payer}"
    if memo_of(anchor.root) not in seen.memos:
        return f"transaction {anchor.signature} has another memo: {', '.join(seen.memos) or 'none'}"
    return None if seen.slot == anchor.slot else f"it landed in slot {seen.slot}, recorded is {anchor.slot}"
