"""What a client does its work by: connections of its own (`direct.py`), or the HTTP gateway (`gateway.py`)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from autopay.client.requests.listener import NOBODY, Listener
from autopay.client.values import Ask, Budget, PaymentSummary, Purchase, Quote
from autopay.domain.policy.records import ApprovalRecord


class Backend(Protocol):
    """Every method raises an `AutopayError` when it cannot do what it says; none raises `NotBought`."""

    async def buy(self, agent: str, ask: Ask, listener: Listener = NOBODY) -> Purchase:
        """Hand the request to the agent and wait for its end; how it stands after `ask.timeout_s` otherwise."""
        ...

    async def quote(self, agent: str, ask: Ask) -> Quote:
        """What the seller asks for."""
        ...

    async def result(self, agent: str, request_id: str, wait_s: float) -> Purchase | None:
        """How the request stands, waiting for its end at most so long; None: the agent has no such request."""
        ...

    async def purchases(
        self, agent: str, since: datetime | None, host: str | None, limit: int
    ) -> Sequence[PaymentSummary]:
        """The agent's payments, newest first."""
        ...

    async def budget(self, agent: str) -> Budget:
        """What the agent may spend."""
        ...

    async def agents(self) -> Sequence[Budget]:
        """All agents, with their state."""
        ...

    async def pause(self, agent: str, reason: str | None) -> None:
        """Let the agent start nothing new."""
        ...

    async def resume(self, agent: str) -> None:
        """Let it go on."""
        ...

    async def cancel(self, agent: str, request_id: str) -> None:
        """Pay nothing more for that request than is signed."""
        ...

    async def approvals(self, agent: str) -> Sequence[ApprovalRecord]:
        """The payments of the agent that wait for a person."""
        ...

    async def decide(self, approval_id: str, *, approve: bool) -> bool:
        """Write down a person's decision; False when it had been decided so before."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...
