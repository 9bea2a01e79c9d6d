"""Step 5: ask the chain what became of an attempt, and book what it shows."""

from temporalio import activity

from autopay.domain.errors import UnknownRequest
from autopay.domain.payment.payment import Dead, Seen, Settled, Unknown, Verdict
from autopay.domain.payment.ports import Chain, Ledger
from autopay.domain.payment.settlement import check_settlement
from autopay.domain.payment.status import OPEN
from autopay.domain.payment.steps import AttemptRef


class VerifyStep:
    """One question to the chain; the workflow repeats it until there is an outcome."""

    def __init__(self, ledger: Ledger, chain: Chain, slot_ms: int) -> None:
        self._ledger = ledger
        self._chain = chain
        self._slot_ms = slot_ms

    @activity.defn(name="verify")
    async def verify(self, ref: AttemptRef) -> Verdict:
        """The verdict, already booked: the ledger has it before the workflow may act on it."""
        attempt = await self._ledger.payments.attempt(ref.order.request_key, ref.number)
        if attempt is None:
            raise UnknownRequest(f"attempt {ref.number} of {ref.order.request_key}")
        if attempt.status not in OPEN:  # by another run, or by a person
            recorded = (await self._ledger.payments.recall(ref.order.request_key)).attempts[ref.number - 1].outcome
            assert recorded is not None
            return recorded
        verdict = await check_settlement(self._chain, self._ledger.sessions.booked_up_to, attempt, self._slot_ms)
        match verdict:
            case Settled(settlement=settlement):
                await self._ledger.payments.record_seen(attempt.attempt_id, settlement, final=True)
            case Seen(settlement=settlement):
                await self._ledger.payments.record_seen(attempt.attempt_id, settlement, final=False)
            case Dead(reason=reason):
                await self._ledger.payments.record_dead(attempt.attempt_id, reason)
            case Unknown():
                pass
        return verdict
