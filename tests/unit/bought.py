"""A backend in memory for tests of what stands before it: it buys at once, or ends as it is told."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from autopay.client.errors import AutopayError
from autopay.client.requests.listener import NOBODY, Listener
from autopay.client.values import Ask, Budget, PaymentSummary, Purchase, Quote, units
from autopay.domain.money import Currency
from autopay.domain.policy.records import ApprovalRecord
from autopay.domain.request import RequestError, RequestStatus

AGENT = "research"
PRICE_ATOMIC = 2_000
TRANSACTION = "5" * 88


@dataclass
class MemoryBackend:
    """Implements `Backend`. `ends` are the next endings: a purchase's fields, or an error; then each ask is delivered.

    `blocked`, when set, holds every purchase until it is.
    """

    ends: list[dict[str, object] | AutopayError] = field(default_factory=list)
    asks: list[Ask] = field(default_factory=list)
    recalled: list[str] = field(default_factory=list)
    purchases_by_id: dict[str, tuple[Ask, Purchase]] = field(default_factory=dict)
    paid: list[str] = field(default_factory=list)
    blocked: asyncio.Event | None = None
    closed: int = 0
    unreachable: AutopayError | None = None
    paused: str | None = None
    tells: Sequence[str] = ()

    async def buy(self, agent: str, ask: Ask, listener: Listener = NOBODY) -> Purchase:
        """The purchase with that id, which is made when there is none."""
        self.asks.append(ask)
        for text in self.tells:
            if listener.on_progress is not None:
                listener.on_progress(text)
        known = self.purchases_by_id.get(ask.id)
        if known is not None and (known[0].url, known[0].content) != (ask.url, ask.content):
            error = RequestError(type="terms_differ", message="another URL")
            return known[1].model_copy(update={"terms_differ": True, "error": error})
        if known is not None and known[1].status is not RequestStatus.WAITING:
            return known[1].model_copy(update={"ended_before": True})
        end = self.ends.pop(0) if self.ends else {}
        if isinstance(end, AutopayError):
            raise end
        if known is None and end.get("status", RequestStatus.DELIVERED) is not RequestStatus.REFUSED:
            self.paid.append(ask.id)
        purchase = bought(agent, ask.id, **end)
        self.purchases_by_id[ask.id] = (ask, purchase)
        if self.blocked is not None:
            await self.blocked.wait()
        return purchase

    async def result(self, agent: str, request_id: str, wait_s: float) -> Purchase | None:
        """How it stands."""
        self.recalled.append(request_id)
        if self.unreachable is not None:
            raise self.unreachable
        known = self.purchases_by_id.get(request_id)
        return None if known is None else known[1]

    async def close(self) -> None:
        """Count it."""
        self.closed += 1

    async def quote(self, agent: str, ask: Ask) -> Quote:
        """Not asked here."""
        raise NotImplementedError

    async def purchases(
        self, agent: str, since: datetime | None, host: str | None, limit: int
    ) -> Sequence[PaymentSummary]:
        """None."""
        return []

    async def budget(self, agent: str) -> Budget:
        """Of an agent that is paused when `paused` says why."""
        return Budget(
            agent=agent,
            phase="FULL",
            paused=self.paused,
            currencies=(),
            per_request=None,
            left_today=None,
            waiting=0,
            asked=0,
        )

    async def agents(self) -> Sequence[Budget]:
        """None."""
        return []

    async def pause(self, agent: str, reason: str | None) -> None:
        """Not asked here."""

    async def resume(self, agent: str) -> None:
        """Not asked here."""

    async def cancel(self, agent: str, request_id: str) -> None:
        """Not asked here."""

    async def approvals(self, agent: str) -> Sequence[ApprovalRecord]:
        """None."""
        return []

    async def decide(self, approval_id: str, *, approve: bool) -> bool:
        """Not asked here."""
        return approve


def bought(agent: str, request_id: str, **fields: object) -> Purchase:
    """A purchase that is delivered, but for what the fields say otherwise."""
    usual: dict[str, object] = {
        "id": request_id,
        "agent": agent,
        "status": RequestStatus.DELIVERED,
        "http_status": 200,
        "content": b'{"bought": true}',
        "content_type": "application/json",
        "price": units(PRICE_ATOMIC),
        "currency": Currency.USDC,
        "transaction": TRANSACTION,
        "attempts": 1,
        "workflow_id": f"pay/{agent}/{request_id}",
    }
    return Purchase.model_validate(usual | fields)
