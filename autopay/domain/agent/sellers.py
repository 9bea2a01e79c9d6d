"""The sellers that an agent has trouble with: one breaker an origin, and what a notice says of a seller. Pure.

Money does not live here: a seller that refuses or is refused has answered.
"""

from datetime import datetime
from functools import lru_cache

from pydantic import BaseModel

from autopay.domain.agent.breaker import Breaker, BreakerState
from autopay.domain.hosts import origin
from autopay.domain.payment.notice import Notice
from autopay.domain.refusal import RefusalReason
from autopay.domain.request import RequestStatus

MAX_SELLERS = 200
"""Sellers in trouble that are kept in mind; the longest known is forgotten first."""

SELLER_FAULTS = frozenset({"seller_unavailable", "step_timed_out"})
"""Errors of requests whose seller did not answer the plain question in any of its tries."""

_NEVER_ASKED = frozenset({RefusalReason.CANCELED.value, RefusalReason.INSECURE_TRANSPORT.value})
_ANSWERED = frozenset({"seller_rejected", "seller_redirects"})


@lru_cache(maxsize=1000)
def seller_of(url: str) -> str:
    """A seller is an origin: host and port."""
    found = origin(url)
    return f"{found[1]}:{found[2]}" if found is not None else url[:100]


def has_answered(notice: Notice) -> bool | None:
    """Whether the seller answered over HTTP, overload and faults of its own (429, 5xx) aside; None: it says nothing."""
    if notice.error in SELLER_FAULTS and notice.held is None:
        return False
    if notice.http_status is not None:
        return notice.http_status < 500 and notice.http_status != 429
    match notice.status:
        case RequestStatus.DELIVERED | RequestStatus.FREE:
            return True
        case RequestStatus.REFUSED:  # by us, with the seller's offer before us
            return None if notice.error in _NEVER_ASKED else True
        case RequestStatus.WAITING:
            return True if notice.held is not None else None
        case RequestStatus.FAILED if notice.error in _ANSWERED:
            return True
        case _:
            return None


class Sellers(BaseModel):
    """Breakers by origin; a seller without one is well."""

    breakers: dict[str, Breaker] = {}

    def lets_through(self, seller: str, now: datetime) -> bool:
        """Whether a request of this seller may start."""
        breaker = self.breakers.get(seller)
        return breaker is None or breaker.lets_through(now)

    def asked(self, seller: str, request_id: str, now: datetime) -> BreakerState:
        """A request of this seller starts; returns the state of its breaker."""
        breaker = self.breakers.get(seller)
        return breaker.asked(request_id, now) if breaker is not None else BreakerState.CLOSED

    def heard(self, seller: str, notice: Notice, now: datetime) -> None:
        """What became of a request of this seller."""
        answered = has_answered(notice)
        if answered:
            self.breakers.pop(seller, None)
        elif answered is False:
            breaker = self.breakers.pop(seller, None) or Breaker()
            breaker.failed(now)
            self.breakers[seller] = breaker
            if len(self.breakers) > MAX_SELLERS:
                del self.breakers[next(iter(self.breakers))]
        elif notice.final and seller in self.breakers:
            self.breakers[seller].released(notice.request_id)

    def lost(self, request_ids: set[str]) -> None:
        """Only these are under way: a probe that is none of them will never say anything."""
        for breaker in self.breakers.values():
            if breaker.probe is not None and breaker.probe not in request_ids:
                breaker.released(breaker.probe)
