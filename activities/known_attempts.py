"""`KnownAttempts`: a cache of the attempts that this worker has just recorded or sent, so that the next step need not
read them again.

The ledger stays the source of truth: what is not cached is read from it, and every change is made in it, on locked
rows.

| cached | used | if the entry is lost or out of date |
|---|---|---|
| an attempt whose first send was counted when it was recorded | once, within 10 s | the send is counted again: too
many sends may be counted, never too few |
| an attempt with its claims | when its payment is looked for on chain | it is read from the ledger |

Within ten seconds no attempt can be proven dead: its blockhash is valid for a minute, and a failed transaction takes
thirteen seconds to be final.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from autopay.domain.payment.attempt import RecordedAttempt
from autopay.domain.request import RequestSpec

SEND_WITHIN_S = 10.0
KEEP_S = 60.0
MAX_KEPT = 5_000


@dataclass
class _Entry:
    attempt: RecordedAttempt
    spec: RequestSpec | None
    since: float
    is_counted: bool


class KnownAttempts:
    """Attempts by request and number, the newest few thousand.

    Args:
        clock: seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: OrderedDict[tuple[str, int], _Entry] = OrderedDict()

    def recorded(self, attempt: RecordedAttempt, spec: RequestSpec) -> None:
        """Keep an attempt that the ledger has just recorded, its first send counted."""
        self._keep(_Entry(attempt, spec, self._clock(), is_counted=True))

    def take_to_send(self, request_key: str, number: int) -> tuple[RecordedAttempt, RequestSpec] | None:
        """The attempt whose first send is counted, and its request; only once, and within `SEND_WITHIN_S`."""
        known = self._known.get((request_key, number))
        if known is None or not known.is_counted or known.spec is None:
            return None
        known.is_counted = False
        return (known.attempt, known.spec) if self._clock() - known.since <= SEND_WITHIN_S else None

    def answered(self, attempt: RecordedAttempt) -> None:
        """Keep an attempt whose seller has answered, with its `claims` as the ledger has them now."""
        self._keep(_Entry(attempt, None, self._clock(), is_counted=False))

    def get(self, request_key: str, number: int) -> RecordedAttempt | None:
        """The attempt as it was when its seller answered; None when that is not cached."""
        known = self._known.get((request_key, number))
        return known.attempt if known is not None and self._clock() - known.since <= KEEP_S else None

    def _keep(self, known: _Entry) -> None:
        key = (known.attempt.request_key, known.attempt.number)
        self._known.pop(key, None)
        self._known[key] = known
        while len(self._known) > MAX_KEPT:
            self._known.popitem(last=False)
