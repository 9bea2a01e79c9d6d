"""Remembers which calls without a key of their caller's ended without an answer although money may have moved.

Libraries repeat a call that timed out, many of them without an idempotency key: openai and anthropic do, tenacity, and
people. The same call again must go on with the same purchase, and must not buy a second time.
"""

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping

MOST = 1_000
KEPT_S = 600
"""For how long a call is taken for a repetition of one that had no answer."""

VOLATILE = frozenset(("x-stainless-retry-count", "traceparent", "tracestate", "x-request-id"))
"""Headers that differ between a call and its repetition."""


class UnansweredCalls:
    """Ids of purchases without an answer, by what was asked; for the threads of one process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._ids: OrderedDict[str, tuple[str, float]] = OrderedDict()  # id: what was asked, until when; oldest first

    def keep(self, asked: str, request_id: str) -> None:
        """The purchase with that id has not been answered."""
        with self._lock:
            self._ids[request_id] = (asked, self._clock() + KEPT_S)
            self._ids.move_to_end(request_id)
            while len(self._ids) > MOST:
                self._ids.popitem(last=False)

    def take(self, asked: str) -> str | None:
        """The id of the oldest such purchase, which is the caller's from now on; None without one."""
        with self._lock:
            now = self._clock()
            while self._ids and next(iter(self._ids.values()))[1] <= now:
                self._ids.popitem(last=False)
            found = next((request_id for request_id, (same, _) in self._ids.items() if same == asked), None)
            if found is not None:
                del self._ids[found]
            return found


def asked_text(method: str, url: str, headers: Mapping[str, str], body: bytes | None, *limits: object) -> str:
    """What was asked, as a text that is equal for equal calls only; a hash, as headers are secrets."""
    same = sorted((name.lower(), value) for name, value in headers.items() if name.lower() not in VOLATILE)
    terms = repr((method, url, same, body, [str(each) for each in limits]))
    return hashlib.sha256(terms.encode(errors="surrogatepass")).hexdigest()
