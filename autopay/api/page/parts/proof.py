"""How the books are proven: events in the chains, and the last anchor on the Solana chain."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autopay.api.services import Services


@dataclass(frozen=True)
class Proof:
    """How many events the chains have, and when they were last anchored; None for never."""

    events: int
    chains: int
    anchored_at: datetime | None


async def read_proof(services: Services) -> Proof:
    """As of now."""
    audit = services.sources.ledger.audit
    heads = await audit.heads()
    anchor = await audit.last_anchor(services.settings.network)
    return Proof(sum(head.seq for head in heads), len(heads), None if anchor is None else anchor.created_at)
