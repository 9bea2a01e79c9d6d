"""An agent's money: what it can spend, and what endpoints cost as far as it has seen. Pure.

A reading of the balances counts what the ledger has reserved by then. What is paid after it is subtracted here until
the next reading; what requests in flight may cost is subtracted in scheduling.py.
"""

import hashlib
from datetime import datetime, timedelta
from typing import Literal

from pydantic import BaseModel

from autopay.domain.agent.spec import Rules
from autopay.domain.agent.status import Spendable
from autopay.domain.backoff import Backoff
from autopay.domain.money import Currency, show
from autopay.domain.payment.notice import Notice
from autopay.domain.request import RequestStatus
from autopay.domain.values import Value

RETRY_READING = timedelta(seconds=5)
"""After balances could not be read, while the RPC's breaker is still closed; then the breaker's waits hold."""

QUIET_MOST = timedelta(minutes=30)
"""The longest time between readings that say the same, while nothing waits for money."""

SHORT_MOST = timedelta(minutes=5)
"""The same while something waits for money: a top-up is seen at once by the listener beside it, and at last by this."""

SETTLED_READING = timedelta(seconds=5)
"""The shortest time between readings because a payment has settled: what was paid is subtracted here meanwhile."""

MAX_ENDPOINTS = 500
"""Endpoints whose price is kept; the one that was bought from longest ago is dropped first."""


class PaidAmount(Value):
    """A payment whose answer came at that time."""

    currency: Currency
    amount_atomic: int
    at: datetime


class Balances(BaseModel):
    """The last readings by currency, the payments since, and when to read next (None: at once).

    `shortage` says what is missing while no currency reaches its threshold, which pauses the agent. `unchanged` counts
    readings in a row that nothing had asked for and that said the same as the one before: each doubles the wait.
    `read_at` is when the last one ended, None in runs that began before the waits grew. `asked` is what was asked for
    since the last one began: it may not have seen why, so another follows it.
    """

    readings: list[Spendable] = []
    paid_since: list[PaidAmount] = []
    next_reading: datetime | None = None
    shortage: str | None = None
    unchanged: int = 0
    read_at: datetime | None = None
    asked: Literal["at_once", "soon"] | None = None

    def begin_reading(self) -> None:
        """A reading begins: it sees whatever was the reason of requests before this moment."""
        self.asked = None

    def request_at_once(self) -> None:
        """Read at once; while a reading is going on, once more after it."""
        self.next_reading = None
        self.asked = "at_once"

    def record_readings(
        self, readings: list[Spendable], began: datetime, rules: Rules, now: datetime, *, backs_off: bool
    ) -> None:
        """New readings, begun at `began`: they count all that had been paid by then. Sets or ends the shortage."""
        is_quiet = backs_off and self.next_reading is not None and readings == self.readings
        self.unchanged = self.unchanged + 1 if is_quiet else 0
        self.read_at = now if backs_off else None
        self.readings = readings
        self.paid_since = [paid for paid in self.paid_since if paid.at >= began]
        self.next_reading = now + _waits(rules, QUIET_MOST).wait(self.unchanged)
        if backs_off and self.asked is not None:
            self.next_reading = None if self.asked == "at_once" else min(self.next_reading, now + SETTLED_READING)
        self.shortage = self.find_shortage(rules)

    def due_at(self, rules: Rules, *, is_short: bool) -> datetime | None:
        """When to read next (None: at once), sooner while something waits for money."""
        if not is_short or self.next_reading is None or self.read_at is None:
            return self.next_reading
        return min(self.next_reading, self.read_at + _waits(rules, SHORT_MOST).wait(self.unchanged))

    def request_reading(self, now: datetime, *, spaced: bool) -> None:
        """A payment has settled: read soon, and with `spaced` not before `SETTLED_READING` after the last reading."""
        soonest = self.read_at + SETTLED_READING if spaced and self.read_at is not None else now
        if self.next_reading is not None:
            self.next_reading = None if soonest <= now else min(self.next_reading, soonest)
        self.asked = self.asked or "soon"

    def request_by(self, moment: datetime) -> None:
        """Read at that moment at the latest; while a reading is going on, soon after it."""
        if self.next_reading is not None:
            self.next_reading = min(self.next_reading, moment)
        self.asked = self.asked or "soon"

    def is_old(self, rules: Rules, now: datetime) -> bool:
        """Whether the last reading is too old to buy by."""
        return self.read_at is not None and now >= self.read_at + timedelta(seconds=rules.balance_every_s)

    def find_shortage(self, rules: Rules) -> str | None:
        """What is missing, if no currency that was read reaches its threshold; None if one does, or none was read."""
        is_short = self.readings and len(self.below_threshold(rules)) == len(self.readings)
        return self.describe_missing(rules) if is_short else None

    def record_payment(self, currency: Currency, amount_atomic: int, now: datetime) -> None:
        """A payment was answered."""
        self.paid_since.append(PaidAmount(currency=currency, amount_atomic=amount_atomic, at=now))

    def spendable(self, currency: Currency) -> int | None:
        """Base units that can be spent now; None before the first reading."""
        reading = next((each for each in self.readings if each.currency == currency), None)
        if reading is None:
            return None
        paid = sum(paid.amount_atomic for paid in self.paid_since if paid.currency == currency)
        return max(0, reading.spendable_atomic - paid)

    def below_threshold(self, rules: Rules) -> tuple[Currency, ...]:
        """Currencies in which nothing is paid until there is more."""
        return tuple(each.currency for each in self.readings if each.spendable_atomic < rules.needed(each.currency))

    def describe_missing(self, rules: Rules) -> str:
        """For people: what is missing in the currencies below their threshold, and what would help."""
        below = self.below_threshold(rules)
        return "; ".join(
            _describe_missing(each, rules.needed(each.currency)) for each in self.readings if each.currency in below
        )

    def transfer_helps(self) -> bool:
        """Whether an account is short by what it holds or allows, which a transfer to it can change."""
        return any(each.account is not None and each.limit in ("balance", "allowance") for each in self.readings)


def _waits(rules: Rules, most: timedelta) -> Backoff:
    """The waits between readings that say the same; never shorter than the rule's."""
    first = timedelta(seconds=rules.balance_every_s)
    return Backoff(first, max(first, most))


def _describe_missing(each: Spendable, needed: int) -> str:
    if each.session_problem is not None:
        return f"{each.currency}: {each.session_problem}; the owner must grant a new session (session grant)"
    have, need = show(each.spendable_atomic, each.currency), show(needed, each.currency)
    missing = f"{have} spendable ({each.limit.replace('_', ' ')}), {need} needed"
    if each.limit == "balance" and each.account is not None:
        difference = show(needed - each.spendable_atomic, each.currency)
        return f"{missing}: {difference} or more to {each.account} lets it go on"
    return f"{missing}: a new session with a larger allowance lets it go on (session grant)"


class EndpointPrice(Value):
    """The last known price of an endpoint, in base units; 0 is free."""

    amount_atomic: int
    currency: Currency | None = None


class EndpointPrices(BaseModel):
    """Prices by endpoint: method and URL without its query, as a short hash so that the state stays small."""

    known: dict[str, EndpointPrice] = {}

    def of(self, method: str, url: str) -> EndpointPrice | None:
        """The last price seen there; None when nothing is known."""
        return self.known.get(_endpoint(method, url))

    def apply_notice(self, method: str, url: str, notice: Notice) -> None:
        """Keep the price that a notice names: its amount, or 0 if the content was free."""
        if notice.status == RequestStatus.FREE:
            price = EndpointPrice(amount_atomic=0)
        elif notice.currency is not None and notice.amount_atomic > 0:
            price = EndpointPrice(amount_atomic=notice.amount_atomic, currency=notice.currency)
        else:
            return
        key = _endpoint(method, url)
        self.known.pop(key, None)
        self.known[key] = price
        if len(self.known) > MAX_ENDPOINTS:
            del self.known[next(iter(self.known))]


def _endpoint(method: str, url: str) -> str:
    return hashlib.sha256(f"{method} {url.partition('?')[0].partition('#')[0]}".encode()).hexdigest()[:16]
