"""Step 4: hand the recorded bytes to the seller, store what comes back, say what it means.

| crash at | leaves |
|---|---|
| before `record_sending`, or in it before the commit | nothing: neither a counted send nor one that happened |
| before the first exchange, counted by `sign` | a counted send that did not happen: this one is counted anew |
| before the exchange | a counted send that did not happen; sending again is safe, the bytes are the same |
| during it | bytes that may have arrived; the chain is asked, and the same bytes may go again |
| during it, while the chain is asked | the same; what the chain showed is booked, or is asked for again |
| after it, before `record_answer` | the same; an answer that was lost is asked for again with the same bytes |
| after `record_answer`, around the notice | the content; run again, the same bytes are sent again, and an agent that
is told twice ignores the second notice, one that is not told finds the end in the ledger |
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any
from uuid import UUID

from temporalio import activity

from activities.fetch import open_extras
from activities.known_attempts import KnownAttempts
from autopay.domain.errors import Fault, LedgerUnavailable, SellerUnavailable, TransientFault, UnknownRequest
from autopay.domain.payment.attempt import RecordedAttempt
from autopay.domain.payment.exchange import Reply, claims_settlement, classify, with_claim
from autopay.domain.payment.notice import Announcement
from autopay.domain.payment.payment import Content, Dead, NoAnswer, Rejected, SellerAnswer, Settled, Verdict
from autopay.domain.payment.ports import Facilitator, Ledger, Sealer, Seller
from autopay.domain.payment.status import TransactionStatus
from autopay.domain.payment.steps import AttemptRef
from autopay.domain.request import RequestSpec

HEARTBEAT_S = 3
KEEP_TRYING_S = 25  # within what SUBMIT_STEP leaves beside the seller's 120 s
LOOK_EVERY_S = 10
"""How often the chain is asked about a payment whose seller has not answered yet."""


class SubmitStep:
    """The request with its payment; may run any number of times for one attempt.

    A facilitator that was asked to verify has seen the bytes, so its objection proves nothing: the chain is asked.

    Args:
        verify: asks the chain about the attempt, and books what it shows; meanwhile, when the seller lets us wait.
        known: what `sign` has recorded a moment ago on this worker, its first send counted with it.
        final_in_ms: how long what has settled takes to be final.
        announce: hands a notice to the outbox.
    """

    def __init__(
        self,
        ledger: Ledger,
        seller: Seller,
        vault: Sealer,
        verify: Callable[[AttemptRef], Awaitable[Verdict]],
        known: KnownAttempts,
        final_in_ms: int,
        announce: Callable[[Announcement], Awaitable[None]],
        facilitator: Facilitator | None = None,
    ) -> None:
        self._ledger = ledger
        self._seller = seller
        self._vault = vault
        self._verify = verify
        self._known = known
        self._final_in_ms = final_in_ms
        self._announce = announce
        self._facilitator = facilitator

    @activity.defn(name="submit")
    async def submit(self, ref: AttemptRef) -> SellerAnswer:
        """Send once; no complete answer is an answer too (`NoAnswer`)."""
        key = ref.order.request_key
        async with _beside(_heartbeats()):
            found = self._known.take_to_send(key, ref.number) or await self._counted(ref)
            if isinstance(found, Rejected):
                return found
            attempt, spec = found
            try:
                extras = open_extras(self._vault, key, spec)
                async with _beside(self._looks(ref)):
                    # To where policy looked: the ledger's URL.
                    reply = await self._seller.pay(
                        spec.url, spec.method, extras, attempt.version, self._payment(attempt)
                    )
                answer = classify(reply)
                await self._keep(attempt.attempt_id, reply, answer)
            except SellerUnavailable as fault:
                return NoAnswer(reason=str(fault)[:200])
        claims = with_claim(attempt.claims, reply.receipt)
        self._known.answered(attempt.model_copy(update={"claims": claims}))
        if isinstance(answer, Content) and ref.notice is not None:
            told = ref.notice.model_copy(update={"http_status": answer.http_status})
            await self._announce(Announcement(agent=ref.order.agent, notice=told))
        if isinstance(answer, Content) and claims_settlement(reply.receipt):
            return answer.model_copy(update={"final_in_ms": self._final_in_ms})
        return answer

    async def _counted(self, ref: AttemptRef) -> tuple[RecordedAttempt, RequestSpec] | Rejected:
        """The attempt as the ledger has it, this send counted; Rejected when a facilitator objects to it.

        Raises:
            UnknownRequest: the ledger does not know it.
            IllegalTransition: it is proven dead.
        """
        key = ref.order.request_key
        spec = (await self._ledger.requests.get(key)).spec
        attempt = await self._ledger.payments.attempt(key, ref.number)
        if attempt is None:
            raise UnknownRequest(f"attempt {ref.number} of {key}")
        if self._facilitator is not None and attempt.status is TransactionStatus.PENDING:
            objection = await self._facilitator.objection(self._payment(attempt))
            if objection is not None:
                return Rejected(http_status=402, reason=f"facilitator: {objection}"[:200])
        await self._ledger.payments.record_sending(attempt.attempt_id)
        return attempt, spec

    def _payment(self, attempt: RecordedAttempt) -> bytes:
        row = f"{attempt.request_key}/{attempt.number}"
        return self._vault.open(attempt.sealed, purpose="payment", row=row)

    async def _looks(self, ref: AttemptRef) -> None:
        """Ask the chain every few seconds until the attempt has an outcome, so that it is booked when it is there."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                verdict = await self._verify(ref)
            except TransientFault as fault:
                activity.logger.info("the chain was asked while the seller is waited for: %s", fault)
                continue
            except Fault as fault:  # the step verify meets it again, and has it handled
                activity.logger.warning("the chain was asked while the seller is waited for: %s", fault)
                return
            if isinstance(verdict, Settled | Dead):
                return

    async def _keep(self, attempt_id: UUID, reply: Reply, answer: SellerAnswer) -> None:
        """Store the answer; it may be the only copy of what was paid for, so a blink of the ledger is waited out."""
        deadline = time.monotonic() + KEEP_TRYING_S
        while True:
            try:
                return await self._ledger.payments.record_answer(attempt_id, reply, answer)
            except LedgerUnavailable:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.5)


@contextlib.asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Do the work while the body runs, and end it with the body, whose result no fault of the work takes away."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled() and (error := task.exception()) is not None:
            activity.logger.error("a step beside the submit failed: %r", error)


async def _heartbeats() -> None:
    """Tell the server that this worker lives, so that its death is noticed in seconds; most end before the first."""
    while True:
        await asyncio.sleep(HEARTBEAT_S)
        activity.heartbeat()
