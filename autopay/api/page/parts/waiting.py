"""How much waits for a person: the counts beside the navigation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from autopay.api.page.parts.endings import ends_soon

if TYPE_CHECKING:
    from autopay.api.services import Services

MOST_SESSIONS = 1_000
"""So many sessions that can pay are looked at for those that end soon."""


@dataclass(frozen=True)
class Waiting:
    """How much waits for a person."""

    approvals: int
    disputes: int
    sessions_ending: int


async def read_waiting(services: Services) -> Waiting:
    """As of now."""
    ledger = services.sources.ledger
    approvals, disputes = await ledger.policies.approvals(), await ledger.reports.disputes()
    sessions = await ledger.lists.sessions(active=True, limit=MOST_SESSIONS)
    return Waiting(len(approvals), len(disputes), sum(map(ends_soon, sessions.rows)))
