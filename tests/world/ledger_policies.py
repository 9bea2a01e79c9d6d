"""Policy of the in-memory ledger: limits, payees and approvals, judged by the product's own `judge` over these rows."""

from dataclasses import dataclass
from uuid import UUID

from autopay.adapters.postgres.payments.judging import host_and_port
from autopay.domain.payment.offer import Offer
from autopay.domain.payment.status import TransactionStatus
from autopay.domain.phase import Phase
from autopay.domain.policy.policy import ApprovalState, Ask, Awaiting, Decision, Facts, Permit, Terms, judge
from autopay.domain.refusal import RefusalReason, Refused
from tests.world.clock import moment, now_ms
from tests.world.rows import RequestEntry
from tests.world.store import Store, transaction


@dataclass
class ApprovalEntry:
    """A question to a person; `status` as in the table."""

    approval_id: UUID
    request_key: str
    terms: Terms
    why: str
    expires_at_ms: int
    status: str = "PENDING"

    def awaiting(self) -> Awaiting:
        """As the port gives it out."""
        return Awaiting(
            approval_id=self.approval_id,
            terms_hash=self.terms.hash(),
            why=self.why,
            currency=self.terms.currency,
            amount_atomic=self.terms.amount_atomic,
            pay_to=self.terms.pay_to,
            expires_at=moment(self.expires_at_ms),
        )


class MemoryPolicies:
    """What a person allows."""

    def __init__(self, store: Store) -> None:
        self.store = store

    @transaction
    def decide(self, decision: Decision) -> Refused | None:
        """Record a person's word, once."""
        row = next((each for each in self.store.approvals if each.approval_id == decision.approval_id), None)
        if row is None or row.terms.hash() != decision.terms_hash:
            return Refused(reason=RefusalReason.TERMS_DIFFER, message="nobody was asked about these terms")
        wanted = "APPROVED" if decision.approve else "DENIED"
        if row.status == wanted:
            return None
        if row.status != "PENDING" or row.expires_at_ms <= now_ms():
            return Refused(reason=RefusalReason.APPROVAL_EXPIRED, message=row.status)
        row.status = wanted
        facts = row.terms.model_dump(mode="json")
        self.store.faults.trace.add("decided", request=row.request_key, approve=decision.approve, terms=facts)
        return None

    def judged(self, row: RequestEntry, offer: Offer, program: str) -> tuple[Terms, Permit | Ask | Refused]:
        """Judge an offer with what is booked and approved now."""
        terms = Terms(
            request_id=row.spec.request_id,
            method=row.spec.method,
            url=row.spec.url,
            body_hash=row.spec.body_hash,
            network=offer.network,
            currency=offer.currency,
            mint=offer.mint,
            program=program,
            pay_to=offer.pay_to,
            amount_atomic=offer.amount_atomic,
        )
        host = host_and_port(row.spec.url)
        mine = [
            each
            for each in self.store.attempts.values()
            if each.agent == row.agent and each.status is not TransactionStatus.FAILED
        ]
        here = [each for each in mine if host_and_port(self.store.requests[each.request_key].spec.url) == host]
        facts = Facts(
            phase=Phase(self.store.agent_row(row.agent).phase),
            policy=self.store.policy,
            host=host,
            spent_host_day_atomic=sum(each.amount_atomic for each in here),
            spent_agent_day_atomic=sum(each.amount_atomic for each in mine),
            known_payees=frozenset(self.store.payees.get(host, ())),
            last_price_atomic=max(here, key=lambda each: each.recorded_seq).amount_atomic if here else None,
            approval=self.approval_state(row, terms),
        )
        most = row.spec.max_price_atomic
        if most is not None and terms.amount_atomic > most:
            return terms, Refused(reason=RefusalReason.PRICE_ABOVE_MAXIMUM, message="above the caller's maximum")
        return terms, judge(terms, facts)

    def approval_of(self, row: RequestEntry, terms: Terms) -> ApprovalEntry | None:
        """The newest question about exactly these terms."""
        asked = [
            each for each in self.store.approvals if each.request_key == row.key and each.terms.hash() == terms.hash()
        ]
        return asked[-1] if asked else None

    def approval_state(self, row: RequestEntry, terms: Terms) -> ApprovalState | None:
        """Where a person's word stands; used by an attempt that is dead, it counts as given."""
        entry = self.approval_of(row, terms)
        if entry is None:
            return None
        if entry.status in ("PENDING", "APPROVED") and entry.expires_at_ms <= now_ms():
            entry.status = "EXPIRED"
        if entry.status == "CONSUMED":
            return "APPROVED" if now_ms() < entry.expires_at_ms else "EXPIRED"
        state: ApprovalState = entry.status  # type: ignore[assignment]
        return state

    def ask(self, row: RequestEntry, terms: Terms, verdict: Ask) -> Awaiting:
        """Put the question to a person, once for the same terms."""
        entry = self.approval_of(row, terms)
        if entry is None:
            expires_at_ms = now_ms() + self.store.policy.approval_expires_s * 1000
            entry = ApprovalEntry(self.store.next_id("approval"), row.key, terms, verdict.why, expires_at_ms)
            self.store.approvals.append(entry)
            self.store.faults.trace.add("asked", request=row.key, why=verdict.why)
        return entry.awaiting()

    def consume(self, row: RequestEntry, terms: Terms, verdict: Permit) -> None:
        """An attempt is being recorded by this word, and makes its payee known."""
        if verdict.approved:
            entry = self.approval_of(row, terms)
            assert entry is not None
            entry.status = "CONSUMED"
        self.store.payees.setdefault(host_and_port(row.spec.url), set()).add(terms.pay_to)


class MemoryFence:
    """This ledger is never restored."""

    def __init__(self, store: Store) -> None:
        self.store = store

    @transaction
    def set(self, reason: str) -> None:
        """Nothing is lost here, so whoever says so is wrong."""
        self.store.faults.trace.add("fenced", reason=reason)
