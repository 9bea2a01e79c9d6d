"""`Backoff`: how long to wait before something that failed is tried again. Pure."""

from dataclasses import dataclass
from datetime import timedelta

MAX_DOUBLINGS = 30
"""Far more than any wait needs to reach its limit; keeps 2**n from overflowing a timedelta."""


@dataclass(frozen=True)
class Backoff:
    """Exponential back-off: waits that begin with `first` and double up to `most`."""

    first: timedelta
    most: timedelta

    def wait(self, retries: int) -> timedelta:
        """The wait after a failure that follows `retries` other failures in a row; 0 gives `first`."""
        return min(self.first * (1 << min(retries, MAX_DOUBLINGS)), self.most)

    def wait_ms(self, retries: int) -> int:
        """The same wait in milliseconds."""
        return round(self.wait(retries).total_seconds() * 1000)
