"""Circuit breakers of what an agent depends on: the chain's RPC, and each seller. Pure.

CLOSED → OPEN after `FAULTS` faults in a row → HALF_OPEN when its wait is over: one probe → CLOSED on a success, or OPEN
again with twice the wait. A seller that refuses, or that we refuse, has answered: that is no fault.
"""

from datetime import datetime, timedelta
from functools import lru_cache

from pydantic import BaseModel, Field

from autopay.domain.agent.status import BreakerState
from autopay.domain.backoff import Backoff
from autopay.domain.payment.notice import Notice
from autopay.domain.refusal import RefusalReason
from autopay.domain.request import RequestStatus
from autopay.domain.text.hosts import origin

FAULTS = 3
"""Faults in a row that open a breaker."""

OPEN_FOR = Backoff(timedelta(seconds=30), timedelta(minutes=10))
"""How long a breaker stays open; doubles with each opening in a row."""

MAX_SELLERS = 200
"""Sellers with a breaker that are kept; the one whose last fault is oldest is dropped first."""

CHAIN_FAULTS = frozenset({"chain_unavailable", "node_behind", "step_timed_out"})
"""Errors of steps that did not get an answer from the chain."""

SELLER_FAULTS = frozenset({"seller_unavailable", "step_timed_out"})
"""Errors of requests whose seller did not answer the first, unpaid request in any of its tries."""

_NEVER_ASKED = frozenset({RefusalReason.CANCELED.value, RefusalReason.INSECURE_TRANSPORT.value})
_ANSWERED = frozenset({"seller_rejected", "seller_redirects"})


class Breaker(BaseModel):
    """`until` is when it may be probed, None while it is closed; `probe` is the id of the request that probes."""

    faults: int = 0
    openings: int = 0
    until: datetime | None = None
    probe: str | None = None

    def state(self, now: datetime) -> BreakerState:
        """Its state at `now`; an open one becomes half-open by itself."""
        if self.until is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self.until else BreakerState.HALF_OPEN

    def allows_request(self, now: datetime) -> bool:
        """Whether a request may be sent: always while closed, by one probe while half-open."""
        state = self.state(now)
        return state == BreakerState.CLOSED or (state == BreakerState.HALF_OPEN and self.probe is None)

    def record_request(self, request_id: str, now: datetime) -> BreakerState:
        """A request is about to be sent, as the probe if half-open; returns the state in which the breaker was."""
        state = self.state(now)
        if state == BreakerState.HALF_OPEN:
            self.probe = request_id
        return state

    def record_success(self) -> None:
        """The dependency answered: closed, whoever had asked."""
        self.faults, self.openings, self.until, self.probe = 0, 0, None, None

    def record_fault(self, now: datetime) -> None:
        """The dependency did not answer. Ignored while open: that request had begun before the breaker opened."""
        state = self.state(now)
        if state == BreakerState.OPEN:
            return
        self.faults = min(self.faults + 1, FAULTS)
        if state == BreakerState.HALF_OPEN or self.faults >= FAULTS:
            self.until, self.probe = now + OPEN_FOR.wait(self.openings), None
            self.openings += 1

    def release_probe(self, request_id: str) -> None:
        """A request ended without a sign whether the dependency answers: if it was the probe, another may probe."""
        if self.probe == request_id:
            self.probe = None

    def allow_probe_now(self, now: datetime) -> None:
        """Ends the wait of an open breaker: there is a sign that the dependency is back."""
        if self.until is not None:
            self.until, self.probe = min(self.until, now), None


class Breakers(BaseModel):
    """The breakers of the RPC and, by origin, of sellers that had faults; every other seller counts as CLOSED."""

    rpc: Breaker = Field(default_factory=Breaker)
    sellers: dict[str, Breaker] = {}

    def seller_allows_request(self, seller: str, now: datetime) -> bool:
        """Whether a request to this seller may start."""
        breaker = self.sellers.get(seller)
        return breaker is None or breaker.allows_request(now)

    def record_seller_request(self, seller: str, request_id: str, now: datetime) -> BreakerState:
        """A request to this seller starts; returns the state in which its breaker was."""
        breaker = self.sellers.get(seller)
        return breaker.record_request(request_id, now) if breaker is not None else BreakerState.CLOSED

    def apply_seller_notice(self, seller: str, notice: Notice, now: datetime) -> None:
        """Record whether the seller answered the request that the notice is about."""
        answered = has_answered(notice)
        if answered:
            self.sellers.pop(seller, None)
        elif answered is False:
            breaker = self.sellers.pop(seller, None) or Breaker()
            breaker.record_fault(now)
            self.sellers[seller] = breaker
            if len(self.sellers) > MAX_SELLERS:
                del self.sellers[next(iter(self.sellers))]
        elif notice.final and seller in self.sellers:
            self.sellers[seller].release_probe(notice.request_id)

    def keep_probes(self, request_ids: set[str]) -> None:
        """Release every probe of a seller that is none of these requests: no notice of it will come."""
        for breaker in self.sellers.values():
            if breaker.probe is not None and breaker.probe not in request_ids:
                breaker.release_probe(breaker.probe)


@lru_cache(maxsize=1000)
def seller_of(url: str) -> str:
    """A seller is an origin: host and port."""
    found = origin(url)
    return f"{found[1]}:{found[2]}" if found is not None else url[:100]


def has_answered(notice: Notice) -> bool | None:
    """Whether the seller answered over HTTP, overload and faults of its own (429, 5xx) aside; None: it is unknown."""
    if notice.error in SELLER_FAULTS and notice.held is None:
        return False
    if notice.http_status is not None:
        return notice.http_status < 500 and notice.http_status != 429
    match notice.status:
        case RequestStatus.DELIVERED | RequestStatus.FREE:
            return True
        case RequestStatus.REFUSED:  # refused by us, after the seller's offer
            return None if notice.error in _NEVER_ASKED else True
        case RequestStatus.WAITING:
            return True if notice.held in ("approval", "chain") else None
        case RequestStatus.FAILED if notice.error in _ANSWERED:
            return True
        case _:
            return None
