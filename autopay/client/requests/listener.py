"""Who hears about a request while it is waited for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autopay.domain.policy.records import ApprovalRecord


@dataclass(frozen=True)
class Listener:
    """Who wants to hear about a request while it is waited for.

    `on_approval` is called once for each approval that it waits for; `on_progress` with a sentence about what it waits
    for, when that changes.
    """

    on_approval: Callable[[ApprovalRecord], None] | None = None
    on_progress: Callable[[str], None] | None = None


NOBODY = Listener()
