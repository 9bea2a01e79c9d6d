"""A breaker for one dependency: what fails again and again is left alone for a while, then asked once. Pure.

CLOSED → OPEN after `FAULTS` faults in a row → HALF_OPEN when its wait is over: one probe → CLOSED on a success, or OPEN
again with twice the wait. Who feeds it, and what counts as a fault, is the business of its owner.
"""

from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import BaseModel

FAULTS = 3
"""Faults in a row that open a breaker."""

FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=30), timedelta(minutes=10)
"""How long it stays open: doubles from the first to the longest with each opening in a row."""


class BreakerState(StrEnum):
    """As `api_request_logs.circuit_breaker_state` has it."""

    CLOSED = "CLOSED"
    OPEN = "OPEN"
    HALF_OPEN = "HALF_OPEN"


class Breaker(BaseModel):
    """`until` is when it may be probed, None while it is closed; `probe` is who is probing."""

    faults: int = 0
    openings: int = 0
    until: datetime | None = None
    probe: str | None = None

    def state(self, now: datetime) -> BreakerState:
        """Where it stands at `now`; an open one turns half-open by itself."""
        if self.until is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self.until else BreakerState.HALF_OPEN

    def lets_through(self, now: datetime) -> bool:
        """Whether the dependency may be asked: always while closed, by one probe while half-open."""
        state = self.state(now)
        return state == BreakerState.CLOSED or (state == BreakerState.HALF_OPEN and self.probe is None)

    def asked(self, by: str, now: datetime) -> BreakerState:
        """The dependency is about to be asked; returns the state in which it was."""
        state = self.state(now)
        if state == BreakerState.HALF_OPEN:
            self.probe = by
        return state

    def succeeded(self) -> None:
        """It answered: closed, whoever had asked."""
        self.faults, self.openings, self.until, self.probe = 0, 0, None, None

    def failed(self, now: datetime) -> None:
        """It did not answer. While open that is no news: whoever asked had begun before."""
        state = self.state(now)
        if state == BreakerState.OPEN:
            return
        self.faults = min(self.faults + 1, FAULTS)
        if state == BreakerState.HALF_OPEN or self.faults >= FAULTS:
            doublings = min(self.openings, 10)
            self.until, self.probe = now + min(FIRST_WAIT * 2**doublings, LONGEST_WAIT), None
            self.openings = doublings + 1

    def released(self, by: str) -> None:
        """A probe ended without saying anything about the dependency: another may probe."""
        if self.probe == by:
            self.probe = None

    def hurry(self, now: datetime) -> None:
        """Somebody says that it is back: it may be probed now."""
        if self.until is not None:
            self.until, self.probe = min(self.until, now), None
