"""What endpoints cost, as far as an agent has seen: the last price of each, or that it is free. Pure."""

import hashlib

from pydantic import BaseModel

from autopay.domain.money import Currency
from autopay.domain.payment.notice import Notice
from autopay.domain.request import RequestStatus
from autopay.domain.values import Value

MAX_ENDPOINTS = 500
"""Endpoints that are kept in mind; the one that was bought from longest ago is forgotten first."""


class Price(Value):
    """The last known price of an endpoint, in base units; 0 is free."""

    amount_atomic: int
    currency: Currency | None = None


class Prices(BaseModel):
    """Prices by endpoint: method and URL without its query, as a short hash so that the memory stays small."""

    known: dict[str, Price] = {}

    def of(self, method: str, url: str) -> Price | None:
        """The last price seen there; None when nothing is known."""
        return self.known.get(_endpoint(method, url))

    def heard(self, method: str, url: str, notice: Notice) -> None:
        """A notice that names an amount says what is asked, one that says free that nothing is."""
        if notice.status == RequestStatus.FREE:
            price = Price(amount_atomic=0)
        elif notice.currency is not None and notice.amount_atomic > 0:
            price = Price(amount_atomic=notice.amount_atomic, currency=notice.currency)
        else:
            return
        key = _endpoint(method, url)
        self.known.pop(key, None)
        self.known[key] = price
        if len(self.known) > MAX_ENDPOINTS:
            del self.known[next(iter(self.known))]


def _endpoint(method: str, url: str) -> str:
    return hashlib.sha256(f"{method} {url.partition('?')[0].partition('#')[0]}".encode()).hexdigest()[:16]
