"""The requests of an agent: those that wait, those in flight, and which of these are answered or held. Pure.

The waiting ones mirror the ledger's `priority_queue`, which is read again whenever a run begins.
"""

from bisect import insort
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Self

from pydantic import BaseModel, PrivateAttr

from autopay.domain.agent.state.priority import sort_key
from autopay.domain.agent.status import HeldRequest
from autopay.domain.agent.steps import QueuedRequest

LEDGER_CHECK = timedelta(minutes=1)
"""How often the ledger is asked about requests in flight, in case a notice was lost."""

MAX_CANCELS = 1000
"""Requests to cancel that are kept until the agent can act on them; further ones are dropped."""


class RequestQueue(BaseModel):
    """Requests by stage; `waiting` is sorted, the next one first.

    `in_flight` has begun and is not final on chain; of these `answered` has its answer and only settles, and `held`
    waits without a slot (see `Held`). `cancels` are ids that are to be canceled.

    Hundreds may wait, and as many may settle: what an agent asks at each message is kept by id and by watch, so that
    its answer takes the same time however many there are. Only the methods here change the stages.
    """

    waiting: list[QueuedRequest] = []
    in_flight: dict[str, QueuedRequest] = {}
    answered: set[str] = set()
    held: dict[str, HeldRequest] = {}
    cancels: list[str] = []
    next_ledger_check: datetime | None = None
    _waiting: dict[str, QueuedRequest] = PrivateAttr(default_factory=dict)
    _unanswered: dict[str, QueuedRequest] = PrivateAttr(default_factory=dict)
    _busy: Counter[str | None] = PrivateAttr(default_factory=Counter)

    def model_post_init(self, _: object) -> None:
        """See base class."""
        self._index()

    def _index(self) -> None:
        self._waiting = {request.request_id: request for request in self.waiting}
        self._unanswered = {key: each for key, each in self.in_flight.items() if key not in self.answered}
        self._busy = Counter(each.watch for each in [*self.waiting, *self._unanswered.values()])

    def add(self, request: QueuedRequest) -> None:
        """Queue a request by its score and age; one that is known already is ignored."""
        if request.request_id not in self:
            insort(self.waiting, request, key=lambda each: sort_key(each.score, each.queued_at))
            self._waiting[request.request_id] = request
            self._busy[request.watch] += 1

    def __contains__(self, request_id: str) -> bool:
        """Whether the request waits or is in flight."""
        return request_id in self.in_flight or request_id in self._waiting

    def begin(self, *requests: QueuedRequest) -> None:
        """Move waiting requests to in flight."""
        begun = {request.request_id: request for request in requests}
        self.waiting = [each for each in self.waiting if each.request_id not in begun]
        for key, request in begun.items():
            del self._waiting[key]
            self.in_flight[key] = self._unanswered[key] = request

    def begin_now(self, request_id: str) -> QueuedRequest | None:
        """Move this request to in flight out of its turn, and return it; None when it does not wait."""
        found = self._waiting.get(request_id)
        if found is not None:
            self.begin(found)
        return found

    def answer(self, request_id: str) -> bool:
        """A request in flight has its answer, and only settles; whether that is new."""
        self.held.pop(request_id, None)
        request = self._unanswered.pop(request_id, None)
        if request is None:
            return False
        self.answered.add(request_id)
        self._free_watch(request)
        return True

    def _free_watch(self, request: QueuedRequest) -> None:
        self._busy[request.watch] -= 1
        if not self._busy[request.watch]:
            del self._busy[request.watch]

    def hold(self, held: HeldRequest) -> None:
        """A request in flight waits for what `Held` names; `since` stays if it was held for the same reason."""
        before = self.held.pop(held.request_id, None)
        if before is not None and before.why == held.why:
            held = held.model_copy(update={"since": before.since})
        self.held[held.request_id] = held

    def end_hold(self, request_id: str) -> HeldRequest | None:
        """A held request goes on, or is ended: it waits for nobody any more. Returns how it was held."""
        return self.held.pop(request_id, None)

    def questions(self) -> list[str]:
        """Requests that wait for a person's decision."""
        return [request_id for request_id, held in self.held.items() if held.why == "approval"]

    def end(self, request_id: str) -> None:
        """A request in flight is final on chain."""
        self.answer(request_id)
        self.in_flight.pop(request_id)
        self.answered.discard(request_id)

    def add_cancel(self, request_id: str) -> None:
        """Note that this request is to be canceled."""
        if request_id not in self.cancels and len(self.cancels) < MAX_CANCELS:
            self.cancels.append(request_id)

    def is_full(self, limit: int) -> bool:
        """Whether no more requests are taken: `limit` wait, in the queue or held."""
        return len(self.waiting) + len(self.held) >= limit

    def unanswered(self) -> Sequence[QueuedRequest]:
        """Requests that have begun and are not yet answered."""
        return list(self._unanswered.values())

    def with_slot(self) -> list[QueuedRequest]:
        """Requests that hold a slot: begun, not yet answered, not held."""
        return [request for key, request in self._unanswered.items() if key not in self.held]

    def any_with_slot(self) -> bool:
        """Whether a request holds a slot."""
        return any(key not in self.held for key in self._unanswered)

    def is_busy(self, watch: str) -> bool:
        """Whether the watch has a request that waits or is not yet answered; one that only settles leaves it free."""
        return watch in self._busy

    def ledger_check_is_due(self, now: datetime) -> bool:
        """Whether the ledger is to be asked about the requests in flight."""
        return self.next_ledger_check is None or now >= self.next_ledger_check

    def plan_ledger_check(self, now: datetime) -> None:
        """The next check is due `LEDGER_CHECK` from now."""
        self.next_ledger_check = now + LEDGER_CHECK

    def load(
        self, waiting: Iterable[QueuedRequest], still_open: Sequence[QueuedRequest], asked: Mapping[str, datetime]
    ) -> None:
        """A run begins: take over what waits, what is open, and since when a person is asked, from the ledger.

        What was in flight and is neither has ended meanwhile: it stays until its notice or the ledger says how.
        """
        waiting = list(waiting)
        queued = {request.request_id for request in waiting}
        self.in_flight = {key: request for key, request in self.in_flight.items() if key not in queued}
        self.in_flight |= {request.request_id: request for request in still_open}
        self.answered &= self.in_flight.keys()
        self.held = {key: held for key, held in self.held.items() if key in self.in_flight}
        for key, since in asked.items():
            self.held.setdefault(key, HeldRequest(request_id=key, why="approval", since=since))
        self.waiting, self.next_ledger_check = [], None
        self._index()
        for request in waiting:
            self.add(request)

    def for_next_run(self) -> Self:
        """A copy without what the next run reads from the ledger: the waiting requests, and the URLs in flight."""
        in_flight = {key: request.model_copy(update={"url": ""}) for key, request in self.in_flight.items()}
        return self.model_copy(update={"waiting": [], "in_flight": in_flight})
