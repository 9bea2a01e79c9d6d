"""What every part of the in-memory ledger holds: its rows, and one transaction a method.

Each method is a plain function over the rows, made atomic by `transaction`: it fails before anything changed, or
commits whole, and the caller may not hear of that.
"""

from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar
from uuid import UUID, uuid5

from autopay.domain.agent.records import AgentRecord
from autopay.domain.errors import IllegalTransition, LedgerUnavailable, UnknownAgent, UnknownRequest
from autopay.domain.payment.payment import Settlement
from autopay.domain.payment.status import TransactionStatus, move
from autopay.domain.phase import Phase
from autopay.domain.policy.policy import Policy
from tests.world.clock import now_ms
from tests.world.event_book import EventBook
from tests.world.faults import Faults
from tests.world.rows import ApprovalEntry, AttemptEntry, PayeeEntry, RequestEntry, SessionEntry

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound="Part")

NAMESPACE = UUID(int=402)


def transaction(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], Coroutine[Any, Any, R]]:
    """The method as one database transaction, over a connection that can be lost on either side of the commit."""
    place = f"ledger.{method.__name__}"

    async def run(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        store, faults = self.store, self.store.faults
        await faults.enter(place, store.latency_ms)
        if store.is_away() or faults.strikes("ledger.away_before_commit"):
            raise LedgerUnavailable("before commit")
        result = method(self, *args, **kwargs)
        store.book.note(store.requests)
        if faults.strikes("ledger.outage_after_commit"):
            store.away_until_ms = now_ms() + faults.rng.choice((2_000, 30_000, 700_000))
            raise LedgerUnavailable("after commit, and for longer")
        if faults.strikes("ledger.away_after_commit"):
            raise LedgerUnavailable("after commit")
        faults.leave(place)
        return result

    return run


class Part(Protocol):
    """A part of the ledger: it works on the rows of a store."""

    @property
    def store(self) -> "Store": ...


class Store:
    """All rows of all agents. The trace has what was committed when."""

    def __init__(self, faults: Faults, latency_ms: int = 4) -> None:
        self.faults = faults
        self.latency_ms = latency_ms
        self.away_until_ms = 0
        self.book = EventBook()
        self.agents: dict[str, AgentRecord] = {}
        self.sessions: list[SessionEntry] = []
        self.requests: dict[str, RequestEntry] = {}
        self.attempts: dict[UUID, AttemptEntry] = {}
        self.approvals: list[ApprovalEntry] = []
        self.policy = Policy()
        self.own_policies: dict[str, Policy] = {}
        self.payees: list[PayeeEntry] = []
        self.fence_reason: str | None = None

    def is_away(self) -> bool:
        """In the middle of an outage; those end with the other faults."""
        return now_ms() < self.away_until_ms and not self.faults.quiet

    def next_id(self, kind: str) -> UUID:
        """Ids that are the same in every equal run."""
        return uuid5(NAMESPACE, f"{kind}/{len(self.faults.trace.events)}")

    def add_agent(self, name: str, wallet: str, phase: Phase = Phase.FULL) -> AgentRecord:
        """An agent that exists."""
        record = AgentRecord(agent_id=uuid5(NAMESPACE, name), name=name, phase=phase.value, wallet_address=wallet)
        self.agents[name] = record
        return record

    def add_session(self, entry: SessionEntry) -> None:
        """Open a session; the agent's older ones in that currency end."""
        for each in self.sessions:
            if (each.agent, each.key.currency, each.status) == (entry.agent, entry.key.currency, "ACTIVE"):
                each.status, each.sealed_key = "EXPIRED", ""
        self.sessions.append(entry)

    def agent_row(self, name: str) -> AgentRecord:
        if name not in self.agents:
            raise UnknownAgent(name)
        return self.agents[name]

    def request_row(self, request_key: str) -> RequestEntry:
        if request_key not in self.requests:
            raise UnknownRequest(request_key)
        return self.requests[request_key]

    def attempt_row(self, attempt_id: UUID) -> AttemptEntry:
        if attempt_id not in self.attempts:
            raise IllegalTransition(f"attempt {attempt_id} was never recorded")
        return self.attempts[attempt_id]

    def book_transfer(self, attempt_id: UUID, settlement: Settlement, *, final: bool) -> None:
        """The chain has the transfer. Raises what `require_bookable` raises."""
        moved = self.require_bookable(attempt_id, settlement, final=final)
        row = self.attempt_row(attempt_id)
        if row.status is TransactionStatus.VERIFIED:
            return
        row.status, row.signature, row.slot = moved, settlement.signature, settlement.slot
        self.faults.trace.add("seen", attempt=attempt_id, final=final, signature=settlement.signature)

    def require_bookable(self, attempt_id: UUID, settlement: Settlement, *, final: bool) -> TransactionStatus:
        """The status that the attempt has with that transfer.

        Raises:
            IllegalTransition: the attempt is FAILED, it is another transfer, or it is booked for another attempt.
        """
        row = self.attempt_row(attempt_id)
        recorded = (row.signed.offer.mint, row.signed.destination_account, row.session.authority, row.amount_atomic)
        if recorded != (settlement.mint, settlement.destination, settlement.payer, settlement.amount_atomic):
            raise IllegalTransition(f"attempt {attempt_id}: the chain shows another transfer, recorded is {recorded}")
        if row.status is TransactionStatus.VERIFIED:
            if row.signature != settlement.signature:
                raise IllegalTransition(f"attempt {attempt_id} is VERIFIED as {row.signature}")
            return row.status
        moved = move(row.status, TransactionStatus.VERIFIED if final else TransactionStatus.SUCCESS)
        others = (each for each in self.attempts.values() if each is not row)
        if any(each.signature == settlement.signature for each in others):
            raise IllegalTransition(f"{settlement.signature} is booked for another attempt already")
        return moved
