"""What every view shows around itself: how much waits for a person, and where the stream of events begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends

from autopay.api.page.parts.endings import ends_soon
from autopay.api.services import ServicesNeeded

if TYPE_CHECKING:
    from autopay.api.services import Services


@dataclass(frozen=True)
class Shell:
    """Counts for the navigation; `cursor` is the newest event of before the view was read."""

    cursor: str
    approvals: int
    disputes: int
    sessions_ending: int
    network_text: str


async def read_shell(services: ServicesNeeded) -> Shell:
    """The shell as of now. Read first: what is committed while the view is read comes by the stream once more."""
    return await shell_of(services)


async def shell_of(services: Services) -> Shell:
    """See `read_shell`."""
    ledger = services.sources.ledger
    cursor = await ledger.events.newest_cursor()
    approvals = await ledger.policies.approvals()
    disputes = await ledger.reports.disputes()
    sessions = await ledger.sessions.list()
    return Shell(
        cursor=cursor,
        approvals=len(approvals),
        disputes=len(disputes),
        sessions_ending=sum(map(ends_soon, sessions)),
        network_text="Embedded chain" if services.settings.on_localnet else services.settings.network.capitalize(),
    )


ShellNeeded = Annotated["Shell", Depends(read_shell)]
"""A view's argument that is read before the view is."""
