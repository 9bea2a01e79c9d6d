"""What an agent needs of the world, as protocols."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from autopay.domain.agent.steps import Backlog, Enqueued
from autopay.domain.payment.ports import Ledger
from autopay.domain.phase import Phase
from autopay.domain.request import RequestResult, RequestSpec


class AgentLedger(Ledger, Protocol):
    """What an agent asks of the ledger, beyond what a payment does."""

    async def set_phase(self, name: str, phase: Phase) -> None:
        """How much the agent may do without a person, from the next payment on that is signed."""
        ...

    async def backlog(self, agent: str) -> Backlog:
        """Requests that have not ended: in the queue, or begun; the oldest first. `asked`: since when a person is."""
        ...

    async def ended_among(
        self, agent: str, request_ids: Sequence[str]
    ) -> tuple[Sequence[RequestResult], Sequence[str]]:
        """The results of those that have ended, and the ids that the ledger does not know."""
        ...

    async def answer_fresh(self, agent: str, spec: RequestSpec, since: datetime) -> Enqueued | None:
        """Record a new request and end it as FRESH, if the agent has content for the same method, URL and body hash
        that came after `since`; None when it has not, or when the id is known."""
        ...


class AccountWatch(Protocol):
    """Tells when token accounts change on chain. Raises ChainUnavailable."""

    async def changed(self, accounts: tuple[str, ...], timeout_s: float) -> bool:
        """Returns True as soon as one of the accounts changes after the call, False after `timeout_s`."""
        ...
