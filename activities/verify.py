"""Step 5: ask the chain what became of an attempt, and book what it shows."""

from temporalio import activity

from activities.known_attempts import KnownAttempts
from autopay.domain.errors import UnknownRequest
from autopay.domain.payment.attempt import RecordedAttempt
from autopay.domain.payment.payment import Dead, Seen, Settled, Settlement, Unknown, Verdict
from autopay.domain.payment.ports import Chain, Confirmations, Ledger, Signer
from autopay.domain.payment.settlement import check_settlement
from autopay.domain.payment.status import OPEN
from autopay.domain.payment.steps import AttemptRef


class VerifyStep:
    """One question to the chain; the workflow repeats it until there is an outcome.

    Args:
        signer: tells whether a signature that a receipt names can only be that of the attempt's transaction.
        confirmations: asks the chain about many such signatures at once.
        known: attempts whose seller has answered this worker a moment ago.
    """

    def __init__(
        self,
        ledger: Ledger,
        chain: Chain,
        signer: Signer,
        confirmations: Confirmations,
        known: KnownAttempts,
        slot_ms: int,
    ) -> None:
        self._ledger = ledger
        self._chain = chain
        self._signer = signer
        self._confirmations = confirmations
        self._known = known
        self._slot_ms = slot_ms

    @activity.defn(name="verify")
    async def verify(self, ref: AttemptRef) -> Verdict:
        """The verdict, already booked: the ledger has it before the workflow may act on it. A settlement whose content
        is here (`closing`) is booked with the end of the request."""
        key = ref.order.request_key
        if ref.closing and (known := self._known.get(key, ref.number)) is not None:
            settled = await self._settled_as_claimed(known)
            if settled is not None:
                return settled
        attempt = await self._ledger.payments.attempt(key, ref.number)
        if attempt is None:
            raise UnknownRequest(f"attempt {ref.number} of {key}")
        if attempt.status not in OPEN:  # by another run, or by a person
            recorded = (await self._ledger.payments.recall(key)).attempts[ref.number - 1].outcome
            assert recorded is not None
            return recorded
        verdict = await check_settlement(self._chain, self._ledger.sessions.booked_up_to, attempt, self._slot_ms)
        match verdict:
            case Settled() if ref.closing:
                pass
            case Settled(settlement=settlement):
                await self._ledger.payments.record_seen(attempt.attempt_id, settlement, final=True)
            case Seen(settlement=settlement):
                await self._ledger.payments.record_seen(attempt.attempt_id, settlement, final=False)
            case Dead(reason=reason):
                await self._ledger.payments.record_dead(attempt.attempt_id, reason)
            case Unknown():
                pass
        return verdict

    async def _settled_as_claimed(self, attempt: RecordedAttempt) -> Settled | None:
        """The settlement, when the transaction that the seller's receipt names is ours and final; None: not so.

        A signature that the fee payer made over our message can be of no other transaction, so that its state alone is
        asked for, with those of other payments; what it moved, our own message says.
        """
        for claim in attempt.claims:
            if not self._signer.is_transaction_of(attempt, claim):
                continue
            state = await self._confirmations.of(claim)
            if state is not None and state.final and not state.failed:
                return Settled(
                    settlement=Settlement(
                        signature=claim,
                        slot=state.slot,
                        payer=attempt.authority,
                        destination=attempt.destination_account,
                        mint=attempt.mint,
                        amount_atomic=attempt.amount_atomic,
                    )
                )
        return None
