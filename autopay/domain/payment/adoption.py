"""Adoption: requests that were begun and have not ended get their workflow back, and sellers are asked for what they
owe. The values, and the rules' numbers.

A payment whose workflow was terminated, or that a restored Temporal has forgotten, is open in the ledger and nobody
asks what became of it. Every minute a batch of the open requests is started again under the same workflow id: one
that runs is left alone, any other goes on from the ledger.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from autopay.domain.payment.steps import AttemptRef, PaymentOrder
from autopay.domain.values import Value

ADOPT_ID = "autopay-adopt"
"""The schedule's id, and the first part of its workflows' ids."""

EVERY_S = 60
OLDER_THAN_S = 30
"""A request that was begun just now is being started by its agent."""

BATCH = 200
"""Open requests a run; the next run goes on after the last of them, so that none waits behind those that run."""


ASK_AGAIN = timedelta(minutes=10)
"""The least wait before a seller is asked again for what was paid when its request ended without; the waits double."""

MAX_ASKS = 50
"""Sellers that one run asks again."""


def next_ask(ended_at: datetime, sent_at: datetime, ask_for: timedelta) -> datetime | None:
    """When the seller of an undelivered request is asked again; None when it is asked no more.

    Args:
        ended_at: when the request ended as undelivered.
        sent_at: when the payment was sent last.
        ask_for: for how long after the end it is asked.
    """
    due = sent_at + max(ASK_AGAIN, sent_at - ended_at)
    return due if due <= ended_at + ask_for else None


class AdoptOrder(Value):
    """What a run of `Adopt` does: one batch of requests that were begun longer ago than that."""

    older_than_s: float = OLDER_THAN_S
    batch: int = BATCH


class AdoptFrom(Value):
    """One batch, after the request at which the last one ended."""

    order: AdoptOrder = AdoptOrder()
    after: UUID | None = None


class Adopted(Value):
    """How a batch went. `next_after` is where the next one begins, None to start over; `started` and `asked` are
    request keys: of requests whose workflow is back, and of those whose seller is asked again for what was paid."""

    open_requests: int = 0
    started: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()
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

    async def owed(self, *, ask_for: timedelta, limit: int) -> Sequence[AttemptRef]:
        """Settled attempts of undelivered requests whose seller is to be asked again now (see `next_ask`)."""
        ...
