"""How often a caller may ask, and how much at once: in memory of this process."""

import math
import time
from collections import Counter
from dataclasses import dataclass

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from autopay.api.access.denials import Denied, denial


@dataclass(frozen=True)
class Rates:
    """How often, as `limits` writes it, and how many at once."""

    calls: str = "1200/minute"
    """Of one caller: a page that follows everything asks a few times a second."""
    actions: str = "120/minute"
    """Of one caller: a person clicks less often."""
    failures: str = "10/minute"
    """Of one address: tokens and logins that are wrong."""
    at_once: int = 256
    """Calls under way, streams among them."""
    at_once_of_one: int = 64
    """Those of one caller."""


class RateLimits:
    """Counts calls by caller, and failures by address."""

    def __init__(self, rates: Rates) -> None:
        self._rates = rates
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        self._calls, self._actions, self._failures = (
            parse(each) for each in (rates.calls, rates.actions, rates.failures)
        )
        self._under_way: Counter[str] = Counter()

    def count_call(self, caller: str, *, is_action: bool) -> None:
        """Count a call of that caller.

        Raises:
            Denied: it is one too many.
        """
        self._count(self._calls, "call", caller)
        if is_action:
            self._count(self._actions, "action", caller)

    def require_few_failures(self, address: str) -> None:
        """Let somebody at that address show a token.

        Raises:
            Denied: too many wrong ones came from there.
        """
        if not self._limiter.test(self._failures, "failure", address):
            raise self._too_many(self._failures, "failure", address, "too many wrong tokens came from your address")

    def count_failure(self, address: str) -> None:
        """Somebody at that address has shown a wrong token."""
        self._limiter.hit(self._failures, "failure", address)

    def enter(self, caller: str) -> None:
        """A call of that caller is under way, until `leave`.

        Raises:
            Denied: too many are under way.
        """
        if self._under_way.total() >= self._rates.at_once or self._under_way[caller] >= self._rates.at_once_of_one:
            raise Denied(denial(503, "busy", "too many calls are under way", retry_after_s=1))
        self._under_way[caller] += 1

    def leave(self, caller: str) -> None:
        """A call of that caller has ended."""
        self._under_way[caller] -= 1
        if not self._under_way[caller]:
            del self._under_way[caller]

    def _count(self, rate: RateLimitItem, what: str, caller: str) -> None:
        if not self._limiter.hit(rate, what, caller):
            raise self._too_many(rate, what, caller, f"more than {rate} from one caller")

    def _too_many(self, rate: RateLimitItem, what: str, caller: str, detail: str) -> Denied:
        reset_at = self._limiter.get_window_stats(rate, what, caller).reset_time
        wait_s = max(math.ceil(reset_at - time.time()), 1)
        return Denied(denial(429, "too_many", f"{detail}; ask again in {wait_s} s", retry_after_s=wait_s))
