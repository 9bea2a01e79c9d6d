"""`MemoryLedger`: the port `AgentLedger` in memory, with the same rules, limits and legal moves as PostgreSQL's."""

from collections.abc import Sequence

from autopay.domain.agent.records import AgentRecord
from autopay.domain.agent.spec import SavedAgent
from autopay.domain.agent.steps import Withdrawn
from autopay.domain.errors import IllegalTransition
from autopay.domain.money import Currency
from autopay.domain.phase import Phase
from autopay.domain.policy.records import ApprovalStatus
from tests.world.clock import now_ms
from tests.world.faults import Faults
from tests.world.ledger_payments import MemoryPayments
from tests.world.ledger_policies import MemoryPolicies
from tests.world.ledger_requests import MemoryRequests
from tests.world.ledger_sessions import MemorySessions
from tests.world.store import Store, transaction


class MemoryAgents:
    """Who pays."""

    def __init__(self, store: Store) -> None:
        self.store = store

    @transaction
    def create(self, name: str, phase: Phase = Phase.DEMO, wallet_address: str = "") -> AgentRecord:
        """The agent of that name, made when there is none."""
        return self.store.agents.get(name) or self.store.add_agent(name, wallet_address, phase)

    @transaction
    def get(self, name: str) -> AgentRecord:
        """The agent of that name."""
        return self.store.agent_row(name)

    @transaction
    def set_phase(self, name: str, phase: Phase) -> Sequence[Withdrawn]:
        """How much the agent may do without a person, from now on; withdraws what is asked unless INTERACTIVE."""
        self.store.agents[name] = self.store.agent_row(name).model_copy(update={"phase": phase.value})
        if phase is Phase.INTERACTIVE:
            return []
        withdrawn = []
        for row in self.store.approvals:
            request = self.store.requests[row.request_key]
            if row.agent == name and row.status is ApprovalStatus.PENDING and not request.closed:
                row.status, row.decided_at_ms = ApprovalStatus.EXPIRED, now_ms()
                withdrawn.append(Withdrawn(request_id=request.spec.request_id, approval_id=row.approval_id))
        return withdrawn

    @transaction
    def save(self, saved: SavedAgent) -> None:
        """Nobody brings an agent back here."""
        self.store.agent_row(saved.spec.name)

    @transaction
    def record_balance(
        self, agent: str, currency: Currency, balance_atomic: int, threshold_atomic: int, status: str
    ) -> None:
        """Nobody reads balances here."""
        self.store.agent_row(agent)


class MemoryFence:
    """The fence; payments are never forgotten here."""

    def __init__(self, store: Store) -> None:
        self.store = store

    @transaction
    def set(self, reason: str) -> None:
        """From now on nothing is signed; a fence that is up stays as it is."""
        self.store.faults.trace.add("fenced", reason=reason)
        self.store.fence_reason = self.store.fence_reason or reason

    @transaction
    def lift(self, why: str) -> None:
        """Payments may be signed again.

        Raises:
            IllegalTransition: no fence is up.
        """
        if self.store.fence_reason is None:
            raise IllegalTransition("no fence is up")
        self.store.faults.trace.add("lifted", why=why)
        self.store.fence_reason = None


class MemoryLedger:
    """All parts over one store; one lock is enough for it, as every method is one step of the event loop."""

    def __init__(self, faults: Faults, latency_ms: int = 4) -> None:
        self.store = Store(faults, latency_ms)
        self.requests = MemoryRequests(self.store)
        self.sessions = MemorySessions(self.store)
        self.policies = MemoryPolicies(self.store)
        self.payments = MemoryPayments(self.store, self.sessions, self.policies)
        self.agents = MemoryAgents(self.store)
        self.fence = MemoryFence(self.store)
