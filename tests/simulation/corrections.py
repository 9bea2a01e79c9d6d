"""Corrections that the product still lacks, each found by a seed; `python -m tests.simulation --as-is` leaves them out.

An entry goes away with the change that makes it needless: `test_corrections.py` says when.
"""

from typing import Any

from activities import verify
from autopay.domain.attempt import RecordedAttempt
from autopay.domain.offer import Offer, Reason
from autopay.domain.payment import Dead, Verdict
from autopay.domain.payment_run import PaymentRun
from autopay.domain.ports import Booked, BookedOn, Chain
from autopay.domain.request import RequestResult, RequestStatus
from tests.world.ledger import MemoryLedger

_look = verify.look  # type: ignore[attr-defined]
_offer = PaymentRun._offer
_log = PaymentRun._log


async def look(chain: Chain, booked_on: BookedOn, attempt: RecordedAttempt, slot_ms: int) -> Verdict:
    """Leaves the attempt itself out of what is booked.

    A payment that was seen at confirmed is booked with its slot. When a forgetful node then does not show it at
    finalized, the allowance left is exactly what that very booking leaves, and the payment counts as dead.
    """
    ledger: MemoryLedger = booked_on.__self__  # type: ignore[attr-defined]

    async def booked_on_others(session: Any, slot: int) -> Booked:
        booked = await booked_on(session, slot)
        own = ledger.attempts[attempt.attempt_id]
        counted = own.status.value in ("SUCCESS", "VERIFIED") and own.slot is not None and own.slot <= slot
        less = own.amount_atomic if counted else 0
        return booked.model_copy(update={"settled_atomic": booked.settled_atomic - less})

    verdict: Verdict = await _look(chain, booked_on_others, attempt, slot_ms)
    return verdict


async def offer_unless_canceled(self: PaymentRun) -> Offer | None:
    """A cancel that comes while the seller is asked still stops the signature."""
    found = await _offer(self)
    if found is not None and self.canceled:
        self._end(RequestStatus.REFUSED, Reason.CANCELED, "canceled before anything was paid")
        return None
    return found


async def log_unless_paid(self: PaymentRun, result: RequestResult) -> RequestResult:
    """A request that is about to end as unpaid is recalled once more, and goes on when it has an open payment.

    The worker can die after the ledger recorded an attempt and before the history has it. What is replayed does not
    know of it; when the seller then answers otherwise, closing is refused and the workflow fails.
    """
    if not self._closed and result.status in (RequestStatus.FAILED, RequestStatus.REFUSED, RequestStatus.FREE):
        payment = (await self.steps.recall(self.order)).payment
        if payment.last is not None and not isinstance(payment.last.outcome, Dead):
            self._result = None
            return await self.run()
    return await _log(self, result)


CORRECTIONS: dict[str, tuple[Any, str, Any]] = {
    "a_seen_payment_is_not_evidence_of_its_own_death": (verify, "look", look),
    "a_cancel_while_the_seller_is_asked_stops_the_signature": (PaymentRun, "_offer", offer_unless_canceled),
    "an_end_without_payment_asks_the_ledger_again": (PaymentRun, "_log", log_unless_paid),
}
