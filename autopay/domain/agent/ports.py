"""The ports of an agent: what its activities need of the ledger and the chain."""

from collections.abc import Sequence
from typing import Literal, Protocol

from autopay.domain.agent.spec import SavedAgent
from autopay.domain.agent.steps import Backlog, Enqueued, ToEnqueue, Withdrawn
from autopay.domain.money import Currency
from autopay.domain.payment.ports import Ledger, RequestStore
from autopay.domain.payment.steps import PaymentOrder
from autopay.domain.phase import Phase
from autopay.domain.refusal import Refused
from autopay.domain.request import RequestResult


class AgentRequests(RequestStore, Protocol):
    """An agent's requests: its queue, and those in flight. Raises UnknownAgent too."""

    async def accept_many(
        self, agent: str, requests: Sequence[ToEnqueue], queue_limit: int
    ) -> Sequence[Enqueued | Refused]:
        """Record the requests and queue them, each once, in one transaction; the outcome of each, in their order.

        The same id and terms again change nothing, also within the batch: the outcome is how that request stands.
        A new request with `fresh_since` ends as FRESH, if the agent has content for the same method, URL and body hash
        that came after that. Refused: TERMS_DIFFER for a known id with other terms, QUEUE_FULL when `queue_limit` rows
        wait, those of the batch included.
        """
        ...

    async def backlog(self, agent: str) -> Backlog:
        """Requests that have not ended: in the queue, or begun; the oldest first. `asked`: since when
        a person is asked."""
        ...

    async def ended_among(
        self, agent: str, request_ids: Sequence[str]
    ) -> tuple[Sequence[RequestResult], Sequence[str]]:
        """The results of those that have ended, and the ids that the ledger does not know."""
        ...

    async def not_begun(self, agent: str, request_ids: Sequence[str]) -> Sequence[PaymentOrder]:
        """Those of the requests that wait in the queue still."""
        ...


class AgentStore(Protocol):
    """Agents and their balances. Raises LedgerUnavailable, NotMigrated or UnknownAgent."""

    async def set_phase(self, name: str, phase: Phase) -> Sequence[Withdrawn]:
        """How much the agent may do without a person, from the next payment on that is signed.

        Unless the phase is INTERACTIVE, the questions that wait for a person are withdrawn; returns them.
        """
        ...

    async def save(self, saved: SavedAgent) -> None:
        """Keep what the agent is to do, in place of what was kept before."""
        ...

    async def record_balance(
        self,
        agent: str,
        currency: Currency,
        balance_atomic: int,
        threshold_atomic: int,
        status: Literal["SUFFICIENT", "LOW", "PAUSED"],
    ) -> None:
        """One balance reading, and what the agent needs."""
        ...


class AgentLedger(Ledger, Protocol):
    """The parts of the ledger that an agent uses, beyond what a payment does."""

    @property
    def requests(self) -> AgentRequests: ...
    @property
    def agents(self) -> AgentStore: ...


class AccountWatch(Protocol):
    """Watches token accounts on chain for changes. Raises ChainUnavailable."""

    async def changed(self, accounts: tuple[str, ...], timeout_s: float) -> bool:
        """Returns True as soon as one of the accounts changes after the call, False after `timeout_s`."""
        ...
