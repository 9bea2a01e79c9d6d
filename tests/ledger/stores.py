"""What a ledger has to offer to the tests of the contract: the port of payments and agents, and how it is set up."""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from autopay.domain.agent.ports import AgentRequests, AgentStore
from autopay.domain.agent.records import AgentRecord
from autopay.domain.network import Network
from autopay.domain.payment.attempt import RecordedAttempt
from autopay.domain.payment.exchange import StoredContent
from autopay.domain.payment.ports import FenceStore, PaymentStore, PolicyStore, SessionStore
from autopay.domain.phase import Phase
from autopay.domain.policy.policy import Policy
from autopay.domain.policy.records import ApprovalRecord, PayeeRecord, PolicyInForce
from autopay.domain.refusal import Refused
from autopay.domain.request import RequestResult, RequestSpec
from autopay.domain.session import NewSession


class Requests(AgentRequests, Protocol):
    """Requests, and what came of them."""

    async def accept(
        self, agent: str, spec: RequestSpec, priority_score: float, queue_limit: int
    ) -> Refused | None: ...
    async def result(self, request_key: str) -> RequestResult: ...
    async def content(self, request_key: str) -> StoredContent | None: ...


class Payments(PaymentStore, Protocol):
    """Payments, and which are open."""

    async def open_attempts(self) -> Sequence[RecordedAttempt]: ...


class Policies(PolicyStore, Protocol):
    """Decisions, and what they are about."""

    async def set(self, policy: Policy, agent: str | None = None) -> None: ...
    async def in_force(self, agent: str) -> PolicyInForce: ...
    async def approvals(self, agent: str | None = None, *, undecided: bool = True) -> Sequence[ApprovalRecord]: ...
    async def payees(self) -> Sequence[PayeeRecord]: ...
    async def accept_payee(self, network: Network, origin: str, pay_to: str) -> bool: ...


class Sessions(SessionStore, Protocol):
    """Sessions, and how they begin and end."""

    async def create(self, new: NewSession) -> None: ...

    async def end(self, session_id: UUID) -> bool: ...


class Agents(AgentStore, Protocol):
    """Agents, and how they begin."""

    async def create(self, name: str, phase: Phase = Phase.DEMO, wallet_address: str = "") -> AgentRecord: ...
    async def get(self, name: str) -> AgentRecord: ...


class Fence(FenceStore, Protocol):
    """The fence, and its end."""

    async def lift(self, why: str) -> None: ...


class AnyLedger(Protocol):
    """The parts of a ledger, on whatever store; an `AgentLedger` too."""

    @property
    def requests(self) -> Requests: ...
    @property
    def payments(self) -> Payments: ...
    @property
    def policies(self) -> Policies: ...
    @property
    def sessions(self) -> Sessions: ...
    @property
    def agents(self) -> Agents: ...
    @property
    def fence(self) -> Fence: ...
