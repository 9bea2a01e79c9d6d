"""What an agent knows and decides: pure state that the `Agent` workflow carries from run to run.

Every method takes the time it needs; none does I/O. Nothing here is the only copy of anything that the ledger has.
This module: what it hears from payments and of its money. What it says of itself is in agent_report.py.
"""

from datetime import datetime, timedelta

from autopay.domain.agent.breaker import BreakerState
from autopay.domain.agent.facts import MOST_SAID
from autopay.domain.agent.queue import AgentQueue
from autopay.domain.agent.scheduling import BlockedBy
from autopay.domain.agent.sellers import seller_of
from autopay.domain.agent.status import AgentState, HeldRequest, Spendable
from autopay.domain.agent.steps import QueuedRequest
from autopay.domain.payment.notice import Notice
from autopay.domain.request import RequestStatus

LAST_NOTICES = 10

READ_AGAIN = timedelta(seconds=5)
"""After balances could not be read, while the chain's breaker is still closed; then its waits hold."""

CHAIN_FAULTS = frozenset({"chain_unavailable", "node_behind", "step_timed_out"})

_PAID = (RequestStatus.DELIVERED, RequestStatus.UNDELIVERED)
_BROUGHT = (RequestStatus.DELIVERED, RequestStatus.FREE)


class AgentMemory(AgentQueue):
    """The whole state of an agent between two decisions."""

    # What it hears

    def noticed(self, notice: Notice, now: datetime) -> None:
        """A payment says that its request is held, was answered, or that its money is settled."""
        request = self.in_flight.get(notice.request_id) or self.pull(notice.request_id)
        if request is None:
            return  # heard before: the ledger was faster
        self._learn(notice, request, now)
        if notice.status == RequestStatus.WAITING:
            return
        self.held.pop(notice.request_id, None)
        if notice.request_id not in self.answered:
            self._answered(notice, request, now)
        if notice.final:
            self.in_flight.pop(notice.request_id)
            self.answered.discard(notice.request_id)
            self.next_balance = None
        else:
            self.answered.add(notice.request_id)
        said = notice.model_copy(update={"message": notice.message and notice.message[:MOST_SAID]})
        self.last = [said, *(each for each in self.last if each.request_id != notice.request_id)][:LAST_NOTICES]

    def _learn(self, notice: Notice, request: QueuedRequest, now: datetime) -> None:
        """What a notice says of the seller, the price and the chain."""
        if request.url:
            self.sellers.heard(seller_of(request.url), notice, now)
            self.prices.heard(request.method, request.url, notice)
        if notice.status == RequestStatus.WAITING:
            self._hold(notice, now)
        elif notice.error in CHAIN_FAULTS - {"step_timed_out"}:
            self.rpc.failed(now)
        elif notice.final and notice.transaction is not None:
            self.rpc.hurry(now)

    def _hold(self, notice: Notice, now: datetime) -> None:
        before = self.held.pop(notice.request_id, None)
        if notice.held is None:
            if before is not None and before.why == "chain":
                self.rpc.succeeded()
            return
        if notice.held == "chain" and notice.error in CHAIN_FAULTS:
            self.rpc.failed(now)
        since = before.since if before is not None and before.why == notice.held else now
        self.held[notice.request_id] = HeldRequest(
            request_id=notice.request_id,
            why=notice.held,
            since=since,
            error=notice.error,
            message=notice.message and notice.message[:MOST_SAID],
        )

    def _answered(self, notice: Notice, request: QueuedRequest, now: datetime) -> None:
        self.counts[notice.status] = self.counts.get(notice.status, 0) + 1
        if notice.status in _PAID and notice.currency is not None:
            self.payments += 1
            self.spent_atomic[notice.currency] = self.spent_atomic.get(notice.currency, 0) + notice.amount_atomic
            self.purse.paid(notice.currency, notice.amount_atomic, now)
        if notice.status in _BROUGHT:
            for watch in self.watches_of(request):
                self.watching.brought(watch, now)
        own = next((watch for watch in self.spec.watches if watch.name == request.watch), None)
        if own is not None and notice.status not in _BROUGHT:
            self.watching.missed(own, now, paid=notice.status == RequestStatus.UNDELIVERED)

    def found_fresh(self, request: QueuedRequest, came_at: datetime) -> None:
        """A request was answered with what the agent had: content that came at that time."""
        self.counts[RequestStatus.FRESH] = self.counts.get(RequestStatus.FRESH, 0) + 1
        for watch in self.watches_of(request):
            self.watching.brought(watch, came_at)

    # Money

    def wants_balances(self, now: datetime) -> bool:
        """Whether to read the balances now: they are due, and the chain is not being left alone."""
        if self.rpc.state(now) == BreakerState.OPEN:
            return False
        return self.next_balance is None or now >= self.next_balance

    def balances(self, spendable: list[Spendable], began: datetime, now: datetime) -> None:
        """New readings; the agent pauses itself when no currency reaches its threshold, and goes on when one does."""
        self.purse.read(spendable, began)
        self.rpc.succeeded()
        self.next_balance = now + timedelta(seconds=self.spec.rules.balance_every_s)
        self.short = self.purse.shortage(self.spec.rules)

    def balances_unread(self, now: datetime) -> None:
        """The chain did not tell the balances."""
        self.rpc.failed(now)
        self.next_balance = now + READ_AGAIN

    def look_at_money(self, now: datetime) -> None:
        """Somebody says that money has come in, or to go on: balances are read at once."""
        self.next_balance = None
        self.rpc.hurry(now)

    def wants_top_up(self, now: datetime) -> bool:
        """Whether something waits for money that could come in by a transfer."""
        short = self.purse.used_up(self.spec.rules)
        if self.stopping or not self.purse.transfer_helps():
            return False
        if self.short is not None or (short and self.watches_without_money()):
            return True
        if self.slots():  # what they may cost is set aside; it is not known yet that money is short
            return False
        return any(hindrance is BlockedBy.MONEY for _, hindrance in self.desk(now).judged(self.queue))

    # Time

    def next_wake(self, now: datetime) -> datetime:
        """When to look again if no message comes, at most an hour away."""
        times = [now + timedelta(hours=1)]
        if self.retry_at is not None:
            return min(times[0], self.retry_at)
        if self.rpc.state(now) == BreakerState.OPEN:
            times += [self.rpc.until] if self.rpc.until is not None else []
        elif self.next_balance is not None:
            times.append(self.next_balance)
        if self.next_catch_up is not None and self.in_flight:
            times.append(self.next_catch_up)
        if self.state == AgentState.RUNNING:
            plans = self.watching.plans
            times += [plans[watch.name].due for watch in self.idle_watches() if watch.name in plans]
            sellers = {seller_of(request.url) for request in self.queue}
            probes = (self.sellers.breakers[each].until for each in sellers & self.sellers.breakers.keys())
            times += [until for until in probes if until is not None and until > now]
        return max(now, min(times))
