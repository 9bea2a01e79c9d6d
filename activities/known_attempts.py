"""`KnownAttempts`: what this worker has recorded or sent a moment ago, so that the next step need not read it again.

The ledger stays the only truth: what is not here is read from there, and every change is made there, on locked rows.

| what | is used when | and if it is lost or wrong |
|---|---|---|
| an attempt whose first send was counted when it was recorded | once, within 10 s | the send is counted again: too
many sends may be counted, never too few |
| an attempt with its claims | its payment is looked for on chain | it is read from the ledger |

Ten seconds are less than any proof that an attempt is dead takes: its blockhash lives for a minute, and a transaction
that failed is final after thirteen seconds.
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
class _Known:
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
        self._known: OrderedDict[tuple[str, int], _Known] = OrderedDict()

    def recorded(self, attempt: RecordedAttempt, spec: RequestSpec) -> None:
        """The ledger has just recorded this attempt, and has counted its first send with it."""
        self._keep(_Known(attempt, spec, self._clock(), is_counted=True))

    def take_to_send(self, request_key: str, number: int) -> tuple[RecordedAttempt, RequestSpec] | None:
        """The attempt whose first send is counted, and what it pays for; once, and not for long."""
        known = self._known.get((request_key, number))
        if known is None or not known.is_counted or known.spec is None:
            return None
        known.is_counted = False
        return (known.attempt, known.spec) if self._clock() - known.since <= SEND_WITHIN_S else None

    def answered(self, attempt: RecordedAttempt) -> None:
        """Its seller has answered; `claims` as the ledger has them now."""
        self._keep(_Known(attempt, None, self._clock(), is_counted=False))

    def get(self, request_key: str, number: int) -> RecordedAttempt | None:
        """The attempt as it was when its seller answered."""
        known = self._known.get((request_key, number))
        return known.attempt if known is not None and self._clock() - known.since <= KEEP_S else None

    def _keep(self, known: _Known) -> None:
        key = (known.attempt.request_key, known.attempt.number)
        self._known.pop(key, None)
        self._known[key] = known
        while len(self._known) > MAX_KEPT:
            self._known.popitem(last=False)
