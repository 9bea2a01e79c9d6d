"""What every view shows around itself: how much waits for a person, and where the stream of events begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends

from autopay.api.page.frame.state import StateNeeded
from autopay.api.services import ServicesNeeded


@dataclass(frozen=True)
class Shell:
    """Counts for the navigation; `cursor` is the newest event of before the view was read."""

    cursor: str
    approvals: int
    disputes: int
    sessions_ending: int
    network_text: str


async def read_shell(services: ServicesNeeded, state: StateNeeded) -> Shell:
    """The shell. Read first: what is committed while the view is read comes by the stream once more."""
    cursor = await services.sources.ledger.events.newest_cursor()
    waiting = await state.waiting()
    return Shell(
        cursor=cursor,
        approvals=waiting.approvals,
        disputes=waiting.disputes,
        sessions_ending=waiting.sessions_ending,
        network_text="Embedded chain" if services.settings.on_localnet else services.settings.network.capitalize(),
    )


ShellNeeded = Annotated[Shell, Depends(read_shell)]
"""A view's argument that is read before the view is."""
