"""Policy of the in-memory ledger: limits, payees and approvals, judged by the product's own `judge` over these rows."""

from collections.abc import Sequence
from typing import cast

from autopay.domain.network import Network
from autopay.domain.payment.offer import Offer
from autopay.domain.phase import Phase
from autopay.domain.policy.decision import NOBODY_ASKED, decision_refusal, wanted_by
from autopay.domain.policy.policy import ApprovalState, Ask, Awaiting, Decision, Facts, Permit, Policy, Terms, judge
from autopay.domain.policy.records import ApprovalRecord, ApprovalStatus, PayeeRecord, PolicyInForce
from autopay.domain.refusal import RefusalReason, Refused
from autopay.domain.text.hosts import host_and_port, origin_text, resource_of
from tests.world.clock import moment, now_ms
from tests.world.rows import ApprovalEntry, AttemptEntry, PayeeEntry, RequestEntry
from tests.world.store import Store, transaction

DAY_MS = 86_400_000


class MemoryPolicies:
    """What a person allows."""

    def __init__(self, store: Store) -> None:
        self.store = store

    @transaction
    def decide(self, decision: Decision) -> Refused | None:
        """Record a person's decision, once."""
        row = next((each for each in self.store.approvals if each.approval_id == decision.approval_id), None)
        if row is None or row.terms.hash() != decision.terms_hash:
            return NOBODY_ASKED
        decided_at = None if row.decided_at_ms is None else moment(row.decided_at_ms)
        refused = decision_refusal(decision, row.status, decided_at, moment(row.expires_at_ms), moment(now_ms()))
        if refused is not None or row.status is wanted_by(decision):
            return refused
        row.status, row.decided_at_ms = wanted_by(decision), now_ms()
        facts = row.terms.model_dump(mode="json")
        self.store.faults.trace.add("decided", request=row.request_key, approve=decision.approve, terms=facts)
        return None

    @transaction
    def approvals(self, agent: str | None = None, *, undecided: bool = True) -> Sequence[ApprovalRecord]:
        """What a person is or was asked, oldest first."""
        return [
            each.record()
            for each in self.store.approvals
            if agent in (None, each.agent) and (not undecided or self._waits(each))
        ]

    def _waits(self, row: ApprovalEntry) -> bool:
        is_open = row.status is ApprovalStatus.PENDING and row.expires_at_ms > now_ms()
        return is_open and not self.store.requests[row.request_key].closed

    @transaction
    def set(self, policy: Policy, agent: str | None = None) -> None:
        """From now on this policy holds: for one agent, or for all that have none of their own."""
        if agent is None:
            self.store.policy = policy
        else:
            self.store.own_policies[self.store.agent_row(agent).name] = policy

    @transaction
    def in_force(self, agent: str) -> PolicyInForce:
        """The policy that holds for an agent, and what is spent of its days' limits."""
        self.store.agent_row(agent)
        by_host: dict[str, int] = {}
        for each in self.spent_today(agent):
            by_host[self._host_of(each)] = by_host.get(self._host_of(each), 0) + each.amount_atomic
        return PolicyInForce(
            agent=agent,
            policy=self.policy_of(agent),
            own=agent in self.store.own_policies,
            set_at=None,
            spent_today_atomic=sum(by_host.values()),
            by_host_today_atomic=by_host,
        )

    @transaction
    def payees(self) -> Sequence[PayeeRecord]:
        """Every payee that an origin is known by, by origin, oldest first."""
        rows = sorted(self.store.payees, key=lambda each: (each.origin, each.accepted_at_ms))
        return [
            PayeeRecord(
                network=row.network,
                origin=row.origin,
                pay_to=row.pay_to,
                accepted_by=row.accepted_by,
                accepted_at=moment(row.accepted_at_ms),
            )
            for row in rows
        ]

    @transaction
    def accept_payee(self, network: Network, origin: str, pay_to: str) -> bool:
        """A person says that this origin may be paid there too; False when it was known."""
        return self.remember_payee(network, origin, pay_to, "a person")

    def remember_payee(self, network: Network, origin: str, pay_to: str, accepted_by: str) -> bool:
        """The origin is known by that payee from now on; False when it was before."""
        if pay_to in self._known_payees(network, origin):
            return False
        self.store.payees.append(PayeeEntry(network, origin, pay_to, accepted_by, now_ms()))
        return True

    def policy_of(self, agent: str) -> Policy:
        """The agent's own policy, or everyone's."""
        return self.store.own_policies.get(agent, self.store.policy)

    def spent_today(self, agent: str) -> list[AttemptEntry]:
        """The agent's payments since midnight UTC, unknown outcomes included."""
        today = now_ms() // DAY_MS
        return [
            each
            for each in self.store.attempts.values()
            if each.agent == agent and each.is_alive and each.recorded_at_ms // DAY_MS == today
        ]

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
        return terms, _beyond_the_caller(row, offer) or judge(terms, self._facts(row, terms))

    def _facts(self, row: RequestEntry, terms: Terms) -> Facts:
        host = host_and_port(row.spec.url)
        today = self.spent_today(row.agent)
        return Facts(
            phase=Phase(self.store.agent_row(row.agent).phase),
            policy=self.policy_of(row.agent),
            host=host,
            spent_host_day_atomic=sum(each.amount_atomic for each in today if self._host_of(each) == host),
            spent_agent_day_atomic=sum(each.amount_atomic for each in today),
            known_payees=self._known_payees(terms.network, origin_text(terms.url)),
            last_price_atomic=self._last_price_atomic(row),
            approval=self.approval_state(row, terms),
        )

    def _known_payees(self, network: Network, origin: str) -> frozenset[str]:
        return frozenset(each.pay_to for each in self.store.payees if (each.network, each.origin) == (network, origin))

    def _last_price_atomic(self, row: RequestEntry) -> int | None:
        """What the agent paid last for the same resource."""
        same = [each for each in self.store.attempts.values() if each.agent == row.agent and each.is_alive]
        same = [each for each in same if self._resource_of(each.request_key) == self._resource_of(row.key)]
        return max(same, key=lambda each: each.recorded_seq).amount_atomic if same else None

    def _resource_of(self, request_key: str) -> str:
        spec = self.store.requests[request_key].spec
        return resource_of(spec.method, spec.url)

    def _host_of(self, attempt: AttemptEntry) -> str:
        return host_and_port(self.store.requests[attempt.request_key].spec.url)

    def approval_of(self, row: RequestEntry, terms: Terms) -> ApprovalEntry | None:
        """The newest question about exactly these terms."""
        asked = [each for each in self.store.approvals if each.request_key == row.key]
        newest = next((each for each in reversed(asked) if each.terms.hash() == terms.hash()), None)
        withdrawn = newest is not None and newest.status is ApprovalStatus.EXPIRED and newest.decided_at_ms is not None
        return None if withdrawn else newest

    def approval_state(self, row: RequestEntry, terms: Terms) -> ApprovalState | None:
        """What a person decided; used by an attempt that is dead, it counts as given."""
        entry = self.approval_of(row, terms)
        if entry is None:
            return None
        if entry.status in (ApprovalStatus.PENDING, ApprovalStatus.APPROVED) and entry.expires_at_ms <= now_ms():
            entry.status = ApprovalStatus.EXPIRED
        if entry.status is ApprovalStatus.CONSUMED:
            return "APPROVED" if now_ms() < entry.expires_at_ms else "EXPIRED"
        return cast("ApprovalState", entry.status.value)

    def ask(self, row: RequestEntry, terms: Terms, verdict: Ask) -> Awaiting:
        """Put the question to a person, once for the same terms."""
        entry = self.approval_of(row, terms)
        if entry is None:
            good_ms = self.policy_of(row.agent).approval_expires_s * 1000
            entry = ApprovalEntry(
                self.store.next_id("approval"), row.agent, row.key, terms, verdict.why, now_ms(), now_ms() + good_ms
            )
            self.store.approvals.append(entry)
            self.store.faults.trace.add("asked", request=row.key, why=verdict.why)
        return entry.awaiting()

    def consume(self, row: RequestEntry, terms: Terms, verdict: Permit) -> None:
        """An attempt is being recorded: use up the approval, and remember the payee."""
        if verdict.approved:
            entry = self.approval_of(row, terms)
            assert entry is not None
            entry.status = ApprovalStatus.CONSUMED
        origin = origin_text(terms.url)
        unasked = "policy" if self._known_payees(terms.network, origin) else "first payment"
        self.remember_payee(terms.network, origin, terms.pay_to, "approval" if verdict.approved else unasked)


def _beyond_the_caller(row: RequestEntry, offer: Offer) -> Refused | None:
    most, currency = row.spec.max_price_atomic, row.spec.currency
    if most is not None and offer.amount_atomic > most:
        return Refused(reason=RefusalReason.PRICE_ABOVE_MAXIMUM, message="above the caller's maximum")
    if currency is not None and offer.currency != currency:
        return Refused(reason=RefusalReason.UNSUPPORTED_ASSET, message=f"the caller pays in {currency}")
    return None
