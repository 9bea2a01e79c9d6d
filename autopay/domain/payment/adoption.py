"""Adoption: requests that were begun and have not ended get their workflow back. The values, and the rule's numbers.

A payment whose workflow was terminated, or that a restored Temporal has forgotten, is open in the ledger and nobody
asks what became of it. Every minute a batch of the open requests is started again under the same workflow id: one
that runs is left alone, any other goes on from the ledger.
"""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from autopay.domain.payment.steps import PaymentOrder
from autopay.domain.values import Value

ADOPT_ID = "autopay-adopt"
"""The schedule's id, and the first part of its workflows' ids."""

EVERY_S = 60
OLDER_THAN_S = 30
"""A request that was begun just now is being started by its agent."""

BATCH = 200
"""Open requests a run; the next run goes on after the last of them, so that none waits behind those that run."""


class AdoptOrder(Value):
    """What a run of `Adopt` does: one batch of requests that were begun longer ago than that."""

    older_than_s: float = OLDER_THAN_S
    batch: int = BATCH


class AdoptFrom(Value):
    """One batch, after the request at which the last one ended."""

    order: AdoptOrder = AdoptOrder()
    after: UUID | None = None


class Adopted(Value):
    """How a batch went. `next_after` is where the next one begins, None to start over; `started` request keys."""

    open_requests: int = 0
    started: tuple[str, ...] = ()
    next_after: UUID | None = None


class Unfinished(Value):
    """A request that was begun and has not ended."""

    row_id: UUID
    order: PaymentOrder


class UnfinishedRequests(Protocol):
    """The requests of the ledger, as far as adoption needs them."""

    async def unfinished(self, *, older_than_s: float, after: UUID | None, limit: int) -> Sequence[Unfinished]:
        """Requests of all agents, begun longer ago than that or with an open attempt as old, in a fixed order."""
        ...
