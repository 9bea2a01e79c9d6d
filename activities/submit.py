"""Step 4: hand the recorded bytes to the seller, store what comes back, say what it means.

| crash at | leaves |
|---|---|
| before the exchange | a counted send that did not happen; sending again is safe, the bytes are the same |
| during it | bytes that may have arrived; the chain is asked, and the same bytes may go again |
| after it, before `record_answer` | the same; an answer that was lost is asked for again with the same bytes |
"""

import asyncio
import contextlib

from temporalio import activity

from activities.fetch import open_extras
from autopay.domain.answers import classify
from autopay.domain.errors import SellerUnavailable, UnknownRequest
from autopay.domain.payment import Answer, NoAnswer, Rejected
from autopay.domain.ports import Facilitator, Ledger, Seller, Vault
from autopay.domain.steps import AttemptRef

HEARTBEAT_S = 3


class Submit:
    """The request with its payment; may run any number of times for one attempt.

    A facilitator that was asked to verify has seen the bytes, so its objection proves nothing: the chain is asked.
    """

    def __init__(self, ledger: Ledger, seller: Seller, vault: Vault, facilitator: Facilitator | None = None) -> None:
        self._ledger = ledger
        self._seller = seller
        self._vault = vault
        self._facilitator = facilitator

    @activity.defn(name="submit")
    async def submit(self, ref: AttemptRef) -> Answer:
        """Send once; no complete answer is an answer too (`NoAnswer`)."""
        key = ref.order.request_key
        record = await self._ledger.request(key)
        attempt = await self._ledger.attempt(key, ref.number)
        if attempt is None:
            raise UnknownRequest(f"attempt {ref.number} of {key}")
        payment = self._vault.open(attempt.sealed, purpose="payment", row=f"{key}/{ref.number}")
        if self._facilitator is not None and attempt.status == "PENDING":
            objection = await self._facilitator.objection(payment)
            if objection is not None:
                return Rejected(http_status=402, reason=f"facilitator: {objection}"[:200])
        await self._ledger.record_sending(attempt.attempt_id)
        beat = asyncio.create_task(_heartbeats())
        try:
            extras = open_extras(self._vault, record)
            reply = await self._seller.pay(ref.order.url, ref.order.method, extras, attempt.version, payment)
        except SellerUnavailable as fault:
            return NoAnswer(reason=str(fault)[:200])
        finally:
            beat.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await beat
        answer = classify(reply, reply.claim)
        await self._ledger.record_answer(attempt.attempt_id, reply, reply.claim, answer)
        return answer


async def _heartbeats() -> None:
    """Tell the server that this worker lives, so that its death is noticed in seconds."""
    while True:
        activity.heartbeat()
        await asyncio.sleep(HEARTBEAT_S)
