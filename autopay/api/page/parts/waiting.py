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
    """How much waits for a person; `disputes_ended` are those of `disputes` that are not asked for any more."""

    approvals: int
    disputes: int
    disputes_ended: int
    sessions_ending: int


async def read_waiting(services: Services) -> Waiting:
    """As of now."""
    ledger = services.sources.ledger
    approvals, (disputes, ended) = await ledger.policies.open_approvals(), await ledger.reports.dispute_counts()
    sessions = await ledger.lists.sessions(active=True, limit=MOST_SESSIONS)
    return Waiting(approvals, disputes, ended, sum(map(ends_soon, sessions.rows)))
