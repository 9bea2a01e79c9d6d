"""`DurableState`: all that an agent carries from run to run, composed of parts, and the decisions that need several.

Pure: every method takes the time it needs, none does I/O. Nothing here is the only copy of what the ledger has. All of
it is bounded: by the watches, the queue's limit, and the limits in breakers.py and money.py.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Self

from pydantic import BaseModel, Field, model_validator

from autopay.domain.agent.spec import MAX_QUEUE, AgentSpec, Rules, Watch
from autopay.domain.agent.state.breakers import CHAIN_FAULTS, Breakers, seller_of
from autopay.domain.agent.state.counters import MAX_MESSAGE_LENGTH, Counters, DroppedSignals, shortened
from autopay.domain.agent.state.flat_state import FLAT_ONLY, nest
from autopay.domain.agent.state.money import RETRY_READING, Balances, EndpointPrices
from autopay.domain.agent.state.priority import HAND_WEIGHT, score
from autopay.domain.agent.state.queue import RequestQueue
from autopay.domain.agent.state.scheduling import BlockedBy, SchedulingContext
from autopay.domain.agent.state.watches import WatchSchedule
from autopay.domain.agent.status import AgentState, BreakerState, HeldRequest, Spendable
from autopay.domain.agent.steps import QueuedRequest
from autopay.domain.backoff import Backoff
from autopay.domain.payment.notice import Notice
from autopay.domain.phase import Phase
from autopay.domain.request import RequestSpec, RequestStatus
from autopay.domain.text.printable import printable

MAX_EARLY_NOTICES = 2000
"""Notices that are kept until the ledger was read, which then says how the requests of any others stand."""

MAX_WAIT = timedelta(hours=1)

STEP_RETRY = Backoff(timedelta(seconds=2), timedelta(minutes=5))

_PAID = (RequestStatus.DELIVERED, RequestStatus.UNDELIVERED)
_WITH_CONTENT = (RequestStatus.DELIVERED, RequestStatus.FREE)

MAX_REASON_LENGTH = 400
"""Characters of a person's reason for a pause."""


class StepRetry(BaseModel):
    """The fault of the agent's own last step, while it waits until `at` to try again."""

    fault: str | None = None
    at: datetime | None = None
    retries: int = 0

    def step_failed(self, fault: str, now: datetime) -> None:
        """A step of the agent failed: it is tried again after `STEP_RETRY`."""
        self.fault = fault[:MAX_MESSAGE_LENGTH]
        self.at = now + STEP_RETRY.wait(self.retries)
        self.retries += 1

    def step_succeeded(self) -> None:
        """All steps of a turn succeeded."""
        self.fault, self.at, self.retries = None, None, 0


class DurableState(BaseModel):
    """The whole state of an agent between two decisions.

    `pause` is why a person paused it; `balances.shortage` why it paused itself. Either stops new requests.
    `early_notices` came in before this run had read the ledger.
    """

    spec: AgentSpec
    pause: str | None = None
    stopping: bool = False
    retry: StepRetry = Field(default_factory=StepRetry)
    queue: RequestQueue = Field(default_factory=RequestQueue)
    balances: Balances = Field(default_factory=Balances)
    prices: EndpointPrices = Field(default_factory=EndpointPrices)
    schedule: WatchSchedule = Field(default_factory=WatchSchedule)
    breakers: Breakers = Field(default_factory=Breakers)
    counters: Counters = Field(default_factory=Counters)
    early_notices: list[Notice] = []
    dropped: DroppedSignals = Field(default_factory=DroppedSignals)

    @model_validator(mode="before")
    @classmethod
    def _read_flat(cls, data: object) -> object:
        """Releases up to 0.2.0 carried the same fields without parts."""
        return nest(data) if isinstance(data, dict) and FLAT_ONLY in data else data

    def for_next_run(self) -> Self:
        """What the next run begins with: without what it reads from the ledger, to stay far below 2 MB."""
        return self.model_copy(update={"queue": self.queue.for_next_run()})

    # Running, paused, stopping, finished

    def pause_for(self, reason: str | None) -> None:
        """Start nothing new, for a person's reason: as far as it can be shown and kept in the ledger."""
        self.pause = printable(reason or "paused by signal")[:MAX_REASON_LENGTH]

    @property
    def state(self) -> AgentState:
        """What the agent does, in one word."""
        if self.stopping:
            return AgentState.STOPPING
        is_paused = self.pause is not None or self.balances.shortage is not None
        return AgentState.PAUSED if is_paused else AgentState.RUNNING

    def demo_is_over(self) -> bool:
        """A DEMO has made its payments, or has begun as many."""
        return self._demo_payments_left() <= 0

    def _demo_payments_left(self) -> int:
        """How many more requests a DEMO may begin."""
        if self.spec.phase != Phase.DEMO:
            return MAX_QUEUE
        begun = self.counters.payments - self.counters.demo_from + len(self.queue.unanswered())
        return self.spec.rules.demo_payments - begun

    def is_finished(self) -> bool:
        """Nothing more may start, and nothing is in flight. A stopped agent does not wait for held requests."""
        if self.stopping:
            return not self.queue.in_flight.keys() - self.queue.held.keys()
        return not self.queue.in_flight and self.demo_is_over()

    def change_rules(self, rules: Rules) -> None:
        """The agent's own limits, from now on."""
        self.spec = self.spec.model_copy(update={"rules": rules})
        self.balances.shortage = self.balances.find_shortage(rules)
        self.balances.request_at_once()

    def change_phase(self, phase: Phase) -> None:
        """How much it may do without a person; a DEMO counts its payments from here."""
        self.spec = self.spec.model_copy(update={"phase": phase})
        self.counters.demo_from = self.counters.payments

    # Watches

    def add_watch(self, watch: Watch, now: datetime) -> None:
        """Add a watch, or replace the one of that name, with a new plan."""
        self.remove_watch(watch.name)
        self.spec = self.spec.model_copy(update={"watches": (*self.spec.watches, watch)})
        self.schedule.update(self.spec.name, self.spec.watches, now)

    def remove_watch(self, name: str) -> None:
        """Remove a watch; what it has queued stays."""
        others = tuple(each for each in self.spec.watches if each.name != name)
        self.spec = self.spec.model_copy(update={"watches": others})
        self.schedule.drop(name)

    def watch_named(self, name: str | None) -> Watch | None:
        """The watch of that name, if there is one."""
        return next((watch for watch in self.spec.watches if watch.name == name), None)

    def watches_without_money(self) -> list[str]:
        """Watches that want one currency only, of which there is too little: they wait, the others go on."""
        below = self.balances.below_threshold(self.spec.rules)
        return [watch.name for watch in self.spec.watches if watch.currency in below]

    def idle_watches(self) -> list[Watch]:
        """Watches that can be bought when they are due: neither queued, nor in flight, nor without money."""
        poor = self.watches_without_money()
        return [watch for watch in self.spec.watches if watch.name not in poor and not self.queue.is_busy(watch.name)]

    def due_watches(self, now: datetime) -> list[Watch]:
        """Idle watches whose data is stale."""
        self.schedule.update(self.spec.name, self.spec.watches, now)
        if self.state != AgentState.RUNNING or self.demo_is_over():
            return []
        return [watch for watch in self.idle_watches() if self.schedule.is_due(watch, now)]

    def is_due(self, watch: Watch, now: datetime) -> bool:
        """Whether this watch is still to be bought."""
        return any(each.name == watch.name for each in self.due_watches(now))

    def fresh_since(self, spec: RequestSpec, now: datetime) -> datetime | None:
        """Content that came after this moment answers the request; None: it must be bought.

        A watch is due only when its data is stale, so its own request must be bought, except before the first purchase.
        """
        window_s = spec.max_age_s
        for watch in self.spec.watches:
            if spec.watch == watch.name:
                plan = self.schedule.plans.get(watch.name)
                window_s = watch.every_s if plan is not None and plan.last is None else 0
            elif window_s is None and (watch.method, watch.url, None) == (spec.method, spec.url, spec.body_hash):
                window_s = watch.every_s
        return now - timedelta(seconds=window_s) if window_s else None

    def record_fresh_answer(self, request: QueuedRequest, content_at: datetime) -> None:
        """A request was answered with content that the agent had, and that came at `content_at`."""
        self.counters.count(RequestStatus.FRESH)
        self._record_content(request, content_at)

    def _record_content(self, request: QueuedRequest, at: datetime) -> None:
        """The content keeps fresh every watch of the same method and URL, unless the request sent a body."""
        for watch in self.spec.watches if request.body_hash is None else ():
            if (watch.method, watch.url) == (request.method, request.url):
                self.schedule.record_content(watch, at)

    # Which request starts

    def score(self, spec: RequestSpec, now: datetime) -> float:
        """The priority of a request that is enqueued now."""
        watch = self.watch_named(spec.watch)
        price = self.prices.of(spec.method, spec.url)
        currency = (price.currency if price is not None else None) or self.spec.currencies[0]
        return score(
            HAND_WEIGHT if watch is None else watch.weight,
            1.0 if watch is None else self.schedule.staleness(watch, now),
            0 if price is None else price.amount_atomic,
            self.balances.spendable(currency),
        )

    def scheduling_context(self, now: datetime) -> SchedulingContext:
        """All that decides which requests may start now."""
        return SchedulingContext(
            rules=self.spec.rules,
            now=now,
            prices=self.prices,
            breakers=self.breakers,
            spendable={currency: self.balances.spendable(currency) for currency in self.spec.currencies},
            below_threshold=self.balances.below_threshold(self.spec.rules),
            with_slot=self.queue.with_slot(),
        )

    def begin_next(self, now: datetime) -> tuple[QueuedRequest, BreakerState] | None:
        """Move the next request that may start to in flight; with its seller's breaker. None: none may start now."""
        begun = self.begin_all(now, most=1)
        return begun[0] if begun else None

    def begin_all(self, now: datetime, most: int = MAX_QUEUE) -> list[tuple[QueuedRequest, BreakerState]]:
        """Move all that may start now to in flight, the next one first; each with its seller's breaker."""
        begun: list[tuple[QueuedRequest, BreakerState]] = []
        if self.state != AgentState.RUNNING or not self.queue.waiting or self.demo_is_over():
            return begun
        most = min(most, self._demo_payments_left())
        context = self.scheduling_context(now)
        for request, blocked_by in context.evaluate(self.queue.waiting):
            if blocked_by is BlockedBy.SLOT:
                break
            if blocked_by is None:
                context.take_slot(request)
                seller = seller_of(request.url)
                begun.append((request, self.breakers.record_seller_request(seller, request.request_id, now)))
            if len(begun) == most:
                break
        self.queue.begin(*(request for request, _ in begun))
        return begun

    def load_backlog(
        self,
        waiting: Iterable[QueuedRequest],
        still_open: Sequence[QueuedRequest],
        asked: Mapping[str, datetime] | None = None,
    ) -> None:
        """A run begins: take over what waits and what is open from the ledger (see `RequestQueue.load`)."""
        self.queue.load(waiting, still_open, asked or {})
        self.breakers.keep_probes(set(self.queue.in_flight))

    # Notices of payments

    def keep_early_notice(self, notice: Notice) -> None:
        """A notice came before this run has read the ledger."""
        if len(self.early_notices) < MAX_EARLY_NOTICES:
            self.early_notices.append(notice)

    def apply_notice(self, notice: Notice, now: datetime, *, spaced: bool = True) -> None:
        """A payment says that its request is held, was answered, or that its money is settled.

        `spaced` is False in runs that began when each payment that settled had the balances read at once.
        """
        request = self.queue.in_flight.get(notice.request_id) or self.queue.begin_now(notice.request_id)
        if request is None:
            return  # it has ended already: the ledger said so before
        if request.url:
            self.breakers.apply_seller_notice(seller_of(request.url), notice, now)
            self.prices.apply_notice(request.method, request.url, notice)
        if notice.status == RequestStatus.WAITING:
            self._apply_hold(notice, now)
            return
        if notice.error in CHAIN_FAULTS - {"step_timed_out"}:
            self.breakers.rpc.record_fault(now)
        elif notice.final and notice.transaction is not None:
            self.breakers.rpc.allow_probe_now(now)
        if self.queue.answer(notice.request_id):
            self._apply_answer(notice, request, now)
        if notice.final:
            self.queue.end(notice.request_id)
            self.balances.request_reading(now, spaced=spaced)
        self.counters.keep_notice(notice)

    def _apply_hold(self, notice: Notice, now: datetime) -> None:
        if notice.held is None:
            before = self.queue.end_hold(notice.request_id)
            if before is not None and before.why == "chain":
                self.breakers.rpc.record_success()
            return
        if notice.held == "chain" and notice.error in CHAIN_FAULTS:
            self.breakers.rpc.record_fault(now)
        self.queue.hold(
            HeldRequest(
                request_id=notice.request_id,
                why=notice.held,
                since=now,
                error=notice.error,
                message=shortened(notice.message),
            )
        )

    def _apply_answer(self, notice: Notice, request: QueuedRequest, now: datetime) -> None:
        self.counters.count(notice.status)
        if notice.status in _PAID and notice.currency is not None:
            self.counters.record_payment(notice.currency, notice.amount_atomic)
            self.balances.record_payment(notice.currency, notice.amount_atomic, now)
        if notice.status in _WITH_CONTENT:
            self._record_content(request, now)
        elif (own := self.watch_named(request.watch)) is not None:
            self.schedule.record_failure(own, now, paid=notice.status == RequestStatus.UNDELIVERED)

    # Balances

    def balances_are_due(self, now: datetime) -> bool:
        """Whether to read the balances now; not while the RPC's breaker is open."""
        if self.breakers.rpc.state(now) == BreakerState.OPEN:
            return False
        due = self._next_reading(now)
        return due is None or now >= due

    def must_read_first(self) -> bool:
        """Whether nothing can be bought by the last reading: there is none, or it has paused the agent."""
        return not self.balances.readings or self.state != AgentState.RUNNING

    def must_read_before_buying(self, now: datetime) -> bool:
        """Whether something that costs money may start now, and the last reading is too old to decide by."""
        if not self.balances.is_old(self.spec.rules, now) or self.breakers.rpc.state(now) == BreakerState.OPEN:
            return False
        if self.state != AgentState.RUNNING or self.demo_is_over():
            return False
        context = self.scheduling_context(now)
        evaluated = context.evaluate(self.queue.waiting)
        return any(blocked_by is None and context.cost(request).amount != 0 for request, blocked_by in evaluated)

    def _next_reading(self, now: datetime) -> datetime | None:
        return self.balances.due_at(self.spec.rules, is_short=self.waits_for_money(now))

    def record_balances(
        self, readings: list[Spendable], began: datetime, now: datetime, *, backs_off: bool = True
    ) -> None:
        """New readings; the agent pauses itself when no currency reaches its threshold, and goes on when one does.

        `backs_off` is False in runs that began before the waits between readings grew.
        """
        self.breakers.rpc.record_success()
        self.balances.record_readings(readings, began, self.spec.rules, now, backs_off=backs_off)

    def record_balances_fault(self, now: datetime) -> None:
        """The chain did not answer when the balances were read."""
        self.breakers.rpc.record_fault(now)
        self.balances.next_reading = now + RETRY_READING

    def request_balances(self, now: datetime) -> None:
        """Balances are to be read at once, even if the RPC's breaker is open."""
        self.balances.request_at_once()
        self.breakers.rpc.allow_probe_now(now)

    def needs_top_up(self, now: datetime) -> bool:
        """Whether something waits for money that could come in by a transfer."""
        return self.balances.transfer_helps() and self.waits_for_money(now)

    def waits_for_money(self, now: datetime) -> bool:
        """Whether something waits for more money than there is."""
        if self.stopping:
            return False
        if self.balances.shortage is not None or self.watches_without_money():
            return True
        if self.queue.any_with_slot():  # their cost is set aside only until they are answered
            return False
        evaluated = self.scheduling_context(now).evaluate(self.queue.waiting)
        return any(blocked_by is BlockedBy.MONEY for _, blocked_by in evaluated)

    # Time

    def next_wake(self, now: datetime, *, is_reading: bool = False) -> datetime:
        """When to decide again if no message comes, nor the end of a reading; at most `MAX_WAIT` from now."""
        latest = now + MAX_WAIT
        if self.retry.at is not None:
            return min(latest, self.retry.at)
        times = [latest]
        if self.breakers.rpc.state(now) == BreakerState.OPEN:
            times += [self.breakers.rpc.until] if self.breakers.rpc.until is not None else []
        elif not is_reading and (due := self._next_reading(now)) is not None:
            times.append(due)
        if self.queue.next_ledger_check is not None and self.queue.in_flight:
            times.append(self.queue.next_ledger_check)
        if self.state == AgentState.RUNNING:
            plans = self.schedule.plans
            times += [plans[watch.name].due for watch in self.idle_watches() if watch.name in plans]
            down = {seller: each.until for seller, each in self.breakers.sellers.items() if each.until is not None}
            asked = {seller_of(request.url) for request in self.queue.waiting} if down else set()
            times += [down[seller] for seller in asked & down.keys() if down[seller] > now]
        return max(now, min(times))
