"""What an agent knows and decides: pure state that the `Agent` workflow carries from run to run.

Every method takes the time it needs; none does I/O. The queue mirrors the ledger's `priority_queue`, which is read
again whenever a run begins, so nothing here is the only copy of anything.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from pydantic import BaseModel

from autopay.domain.agent import (
    AgentSpec,
    AgentState,
    AgentStatus,
    Notice,
    Phase,
    Spendable,
    Watch,
    WatchStatus,
)
from autopay.domain.money import Currency, show
from autopay.domain.priority import score
from autopay.domain.request import RequestStatus
from autopay.domain.steps import QueuedRequest

LAST_NOTICES = 10

CATCH_UP = timedelta(minutes=1)
"""How often the ledger is asked about requests in flight, in case a notice was lost."""

_PAID = (RequestStatus.DELIVERED, RequestStatus.UNDELIVERED)


class AgentMemory(BaseModel):
    """The whole state of an agent between two decisions.

    `pause` is why a person paused it, `short` why it paused itself (money or session); either stops new requests.
    """

    spec: AgentSpec
    pause: str | None = None
    short: str | None = None
    stopping: bool = False
    next_due: dict[str, datetime] = {}
    next_balance: datetime | None = None
    next_catch_up: datetime | None = None
    spendable: list[Spendable] = []
    queue: list[QueuedRequest] = []
    in_flight: dict[str, QueuedRequest] = {}
    answered: set[str] = set()
    payments: int = 0
    counts: dict[RequestStatus, int] = {}
    spent_atomic: dict[Currency, int] = {}
    last: list[Notice] = []

    # Watches

    def due_watches(self, now: datetime) -> list[tuple[Watch, float]]:
        """Watches whose data has gone stale, with how many seconds ago; not those already queued or under way."""
        busy = self._busy_watches()
        due = []
        for watch in self.spec.watches:
            at = self.next_due.setdefault(watch.name, now)
            if at <= now and watch.name not in busy:
                due.append((watch, (now - at).total_seconds()))
        return due if self.state == AgentState.RUNNING else []

    def _busy_watches(self) -> set[str | None]:
        """Watches with a request that waits or has not been answered; one whose money settles is free again."""
        waiting = [request for key, request in self.in_flight.items() if key not in self.answered]
        return {request.watch for request in [*self.queue, *waiting]} | set(self._watches_without_money())

    def _watches_without_money(self) -> list[str]:
        """Watches that want one currency only, of which there is too little: they wait, the others go on."""
        thresholds = self.spec.rules.thresholds
        short = {
            each.currency for each in self.spendable if each.spendable_atomic < max(1, thresholds.get(each.currency, 0))
        }
        return [watch.name for watch in self.spec.watches if watch.currency in short]

    def scheduled(self, watch: Watch, now: datetime) -> None:
        """The watch has been enqueued at `now`; its next copy is wanted a window later."""
        self.next_due[watch.name] = now + timedelta(seconds=watch.every_s)

    def watch(self, watch: Watch, now: datetime) -> None:
        """Add a watch, or replace the one of that name; it is due at once."""
        others = tuple(each for each in self.spec.watches if each.name != watch.name)
        self.spec = self.spec.model_copy(update={"watches": (*others, watch)})
        self.next_due[watch.name] = now

    def unwatch(self, name: str) -> None:
        """Forget a watch; what it has queued stays."""
        others = tuple(each for each in self.spec.watches if each.name != name)
        self.spec = self.spec.model_copy(update={"watches": others})
        self.next_due.pop(name, None)

    # The queue

    def knows(self, request_id: str) -> bool:
        """Whether the request waits or is under way."""
        return request_id in self.in_flight or any(request.request_id == request_id for request in self.queue)

    def enqueue(self, request: QueuedRequest) -> None:
        """Put a request in its place: by score, then by age."""
        if not self.knows(request.request_id):
            self.queue.append(request)
            self.queue.sort(key=lambda each: -each.score)

    def take(self) -> QueuedRequest | None:
        """The next request to start, moved to in flight; None when nothing may start now."""
        if self.state != AgentState.RUNNING or not self.queue:
            return None
        if len(self.in_flight.keys() - self.answered) >= self.spec.rules.max_in_flight or self._demo_is_over():
            return None
        request = self.queue.pop(0)
        self.in_flight[request.request_id] = request
        return request

    def recovered(self, queue: Sequence[QueuedRequest], still_open: Sequence[QueuedRequest]) -> None:
        """A run begins: what waits and what is under way, as the ledger has it."""
        self.in_flight = {request.request_id: request for request in still_open}
        self.answered &= self.in_flight.keys()
        self.queue = []
        for request in queue:
            self.enqueue(request)

    def wants_to_catch_up(self, now: datetime) -> bool:
        """Whether the ledger should be asked how the requests in flight stand; true every `CATCH_UP` at most."""
        if self.next_catch_up is not None and now < self.next_catch_up:
            return False
        first = self.next_catch_up is None
        self.next_catch_up = now + CATCH_UP
        return bool(self.in_flight) and not first

    def drop(self, request_id: str) -> None:
        """A request that was in flight is not any more, and there is nothing to count."""
        self.in_flight.pop(request_id, None)
        self.answered.discard(request_id)

    def noticed(self, notice: Notice) -> None:
        """A payment says that its request was answered, or that its money is settled."""
        if notice.request_id not in self.answered:
            self._count(notice)
        if notice.final:
            self.drop(notice.request_id)
            self.last = [notice, *(each for each in self.last if each.request_id != notice.request_id)][:LAST_NOTICES]
        else:
            self.answered.add(notice.request_id)
            self.last = [notice, *self.last][:LAST_NOTICES]

    def _count(self, notice: Notice) -> None:
        self.counts[notice.status] = self.counts.get(notice.status, 0) + 1
        if notice.status in _PAID and notice.currency is not None:
            self.payments += 1
            self.spent_atomic[notice.currency] = self.spent_atomic.get(notice.currency, 0) + notice.amount_atomic

    # Money

    def balances(self, spendable: list[Spendable], now: datetime) -> None:
        """New readings; the agent pauses itself when no currency reaches its threshold, and goes on when one does."""
        self.spendable = spendable
        self.next_balance = now + timedelta(seconds=self.spec.rules.balance_every_s)
        thresholds = self.spec.rules.thresholds
        enough = any(each.spendable_atomic >= max(1, thresholds.get(each.currency, 0)) for each in spendable)
        self.short = None if enough else self._what_is_missing()

    def _what_is_missing(self) -> str:
        parts = []
        for each in self.spendable:
            threshold = self.spec.rules.thresholds.get(each.currency, 0)
            if each.spendable_atomic >= max(1, threshold):
                continue
            have, need = show(each.spendable_atomic, each.currency), show(threshold, each.currency)
            if each.session_problem is not None:
                parts.append(f"{each.currency}: {each.session_problem}")
            else:
                parts.append(f"{have} spendable ({each.limit.replace('_', ' ')}), {need} needed")
        return "; ".join(parts) or "no balance is known"

    # Where it stands

    def _demo_is_over(self) -> bool:
        begun = self.payments + len(self.in_flight.keys() - self.answered)
        return self.spec.phase == Phase.DEMO and begun >= self.spec.rules.demo_payments

    @property
    def state(self) -> AgentState:
        """In one word."""
        if self.stopping:
            return AgentState.STOPPING
        return AgentState.PAUSED if self.pause is not None or self.short is not None else AgentState.RUNNING

    @property
    def reason(self) -> str | None:
        """Why it is not simply running."""
        if self.stopping:
            return "draining what is in flight" if self.in_flight else None
        if self._demo_is_over():
            return f"the demo's {self.spec.rules.demo_payments} payments are made; it ends when they are final"
        if self.pause is None and self.short is None and (waiting := self._watches_without_money()):
            return f"{', '.join(waiting)} must wait: {self._what_is_missing()}"
        return self.pause if self.pause is not None else self.short

    def is_finished(self) -> bool:
        """Nothing is in flight, and nothing more may start: stopped, or a demo that has made its payments."""
        return not self.in_flight and (self.stopping or self._demo_is_over())

    def next_wake(self, now: datetime) -> datetime:
        """When to look again if no message comes: the next due watch or balance reading, at most an hour away."""
        times = [now + timedelta(hours=1)]
        if self.next_balance is not None:
            times.append(self.next_balance)
        if self.next_catch_up is not None and self.in_flight:
            times.append(self.next_catch_up)
        if self.state == AgentState.RUNNING:
            busy = self._busy_watches()
            times += [at for name, at in self.next_due.items() if name not in busy]
        return max(now, min(times))

    def status(self, now: datetime, *, over: bool) -> AgentStatus:
        """The answer to the query `status`."""
        return AgentStatus(
            name=self.spec.name,
            phase=self.spec.phase,
            state=AgentState.STOPPED if over else self.state,
            reason=self.reason,
            spendable=tuple(self.spendable),
            in_flight=tuple(key for key in self.in_flight if key not in self.answered),
            settling=tuple(key for key in self.in_flight if key in self.answered),
            queued=tuple(request.request_id for request in self.queue),
            watches=tuple(
                WatchStatus(watch=watch, next_due=self.next_due.get(watch.name, now)) for watch in self.spec.watches
            ),
            payments=self.payments,
            delivered=self.counts.get(RequestStatus.DELIVERED, 0) + self.counts.get(RequestStatus.FREE, 0),
            refused=self.counts.get(RequestStatus.REFUSED, 0),
            failed=self.counts.get(RequestStatus.FAILED, 0),
            undelivered=self.counts.get(RequestStatus.UNDELIVERED, 0),
            spent_atomic=dict(self.spent_atomic),
            last=tuple(self.last),
        )

    def score(self, watch: Watch | None, overdue_s: float) -> float:
        """The priority of a request that is enqueued now."""
        return score(watch, overdue_s)
