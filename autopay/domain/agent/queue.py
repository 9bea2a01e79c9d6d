"""What an agent decides: what is due, what is fresh, what comes first, and what may start. Pure.

The queue mirrors the ledger's `priority_queue`, which is read again whenever a run begins.
"""

from bisect import insort
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from autopay.domain.agent.breaker import BreakerState
from autopay.domain.agent.facts import AgentFacts
from autopay.domain.agent.priority import HAND_WEIGHT, place, score
from autopay.domain.agent.scheduling import BlockedBy, SchedulingContext
from autopay.domain.agent.sellers import seller_of
from autopay.domain.agent.spec import Watch
from autopay.domain.agent.status import AgentState, HeldRequest
from autopay.domain.agent.steps import QueuedRequest
from autopay.domain.request import RequestSpec

CATCH_UP = timedelta(minutes=1)
"""How often the ledger is asked about requests in flight, in case a notice was lost."""


class AgentQueue(AgentFacts):
    """Watches that are due, and requests that wait."""

    # Watches

    def due_watches(self, now: datetime) -> list[Watch]:
        """Watches whose data has gone stale; not those already queued or under way, nor those without money."""
        self.watching.plan(self.spec.name, self.spec.watches, now)
        if self.state != AgentState.RUNNING or self.demo_is_over():
            return []
        idle = self.idle_watches()
        return [watch for watch in idle if self.watching.due(watch, now)]

    def watch(self, watch: Watch, now: datetime) -> None:
        """Add a watch, or replace the one of that name, of which nothing is known then."""
        others = tuple(each for each in self.spec.watches if each.name != watch.name)
        self.spec = self.spec.model_copy(update={"watches": (*others, watch)})
        self.watching.replace(watch.name)
        self.watching.plan(self.spec.name, self.spec.watches, now)

    def unwatch(self, name: str) -> None:
        """Forget a watch; what it has queued stays."""
        others = tuple(each for each in self.spec.watches if each.name != name)
        self.spec = self.spec.model_copy(update={"watches": others})
        self.watching.replace(name)

    def watches_of(self, request: QueuedRequest) -> list[Watch]:
        """Watches that its content keeps fresh: those of the same method and URL, none of which sends a body."""
        if request.body_hash is not None:
            return []
        return [each for each in self.spec.watches if (each.method, each.url) == (request.method, request.url)]

    def fresh_since(self, spec: RequestSpec, now: datetime) -> datetime | None:
        """Content that came after this moment answers the request; None: it must be bought.

        A watch knows by itself when its data is stale, except before its first purchase.
        """
        window_s = spec.max_age_s
        for watch in self.spec.watches:
            if spec.watch == watch.name:
                plan = self.watching.plans.get(watch.name)
                window_s = watch.every_s if plan is not None and plan.last is None else 0
            elif window_s is None and (watch.method, watch.url, None) == (spec.method, spec.url, spec.body_hash):
                window_s = watch.every_s
        return now - timedelta(seconds=window_s) if window_s else None

    # The queue

    def score(self, spec: RequestSpec, now: datetime) -> float:
        """The priority of a request that is enqueued now."""
        watch = next((each for each in self.spec.watches if each.name == spec.watch), None)
        price = self.prices.of(spec.method, spec.url)
        currency = (price.currency if price is not None else None) or self.spec.currencies[0]
        return score(
            HAND_WEIGHT if watch is None else watch.weight,
            1.0 if watch is None else self.watching.staleness(watch, now),
            0 if price is None else price.amount_atomic,
            self.purse.left(currency),
        )

    def enqueue(self, request: QueuedRequest) -> None:
        """Put a request in its place: by score and age."""
        if not self.knows(request.request_id):
            insort(self.queue, request, key=lambda each: place(each.score, each.queued_at))

    def desk(self, now: datetime) -> SchedulingContext:
        """What the decision which request may start looks at."""
        return SchedulingContext(
            rules=self.spec.rules,
            now=now,
            prices=self.prices,
            sellers=self.sellers,
            chain_is_away=self.rpc.until is not None,
            left={currency: self.purse.left(currency) for currency in self.spec.currencies},
            used_up=self.purse.used_up(self.spec.rules),
            under_way=[self.in_flight[key] for key in self.slots()],
        )

    def take(self, now: datetime) -> tuple[QueuedRequest, BreakerState] | None:
        """The next request to start, moved to in flight, with its seller's breaker; None when none may start now."""
        if self.state != AgentState.RUNNING or not self.queue or self.demo_is_over():
            return None
        for request, hindrance in self.desk(now).judged(self.queue):
            if hindrance is None:
                self.begin(request)
                return request, self.sellers.asked(seller_of(request.url), request.request_id, now)
            if hindrance is BlockedBy.SLOT:
                return None
        return None

    def begin(self, request: QueuedRequest) -> None:
        self.queue.remove(request)
        self.in_flight[request.request_id] = request

    def pull(self, request_id: str) -> QueuedRequest | None:
        """A waiting request, moved to in flight out of its turn; None when it does not wait."""
        waiting = next((each for each in self.queue if each.request_id == request_id), None)
        if waiting is not None:
            self.begin(waiting)
        return waiting

    def recovered(
        self,
        queue: Iterable[QueuedRequest],
        still_open: Sequence[QueuedRequest],
        asked: Mapping[str, datetime] | None = None,
    ) -> None:
        """A run begins: what waits, what is under way, and what waits for a person, as the ledger has it.

        What was under way and is neither has ended meanwhile: it stays until its notice or the ledger says how.
        """
        waiting = list(queue)
        ended = self.in_flight.keys() - {request.request_id for request in waiting}
        self.in_flight = {key: self.in_flight[key] for key in self.in_flight if key in ended}
        self.in_flight |= {request.request_id: request for request in still_open}
        self.answered &= self.in_flight.keys()
        self.held = {key: held for key, held in self.held.items() if key in self.in_flight}
        for key, since in (asked or {}).items():
            self.held.setdefault(key, HeldRequest(request_id=key, why="approval", since=since))
        self.sellers.lost(set(self.in_flight))
        self.queue, self.next_catch_up = [], None
        for request in waiting:
            self.enqueue(request)

    def wants_to_catch_up(self, now: datetime) -> bool:
        """Whether the ledger should be asked how the requests in flight stand; true every `CATCH_UP` at most."""
        if self.next_catch_up is not None and now < self.next_catch_up:
            return False
        self.next_catch_up = now + CATCH_UP
        return bool(self.in_flight)
