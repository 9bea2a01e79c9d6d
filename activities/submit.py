"""Step 4: hand the recorded bytes to the seller, store what comes back, say what it means.

| crash at | leaves |
|---|---|
| before `record_sending`, or in it before the commit | nothing: neither a counted send nor one that happened |
| before the exchange | a counted send that did not happen; sending again is safe, the bytes are the same |
| during it | bytes that may have arrived; the chain is asked, and the same bytes may go again |
| during it, while the chain is asked | the same; what the chain showed is booked, or is asked for again |
| after it, before `record_answer` | the same; an answer that was lost is asked for again with the same bytes |
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any
from uuid import UUID

from temporalio import activity

from activities.fetch import open_extras
from autopay.domain.errors import Fault, LedgerUnavailable, SellerUnavailable, TransientFault, UnknownRequest
from autopay.domain.payment.exchange import Reply, classify
from autopay.domain.payment.payment import Dead, NoAnswer, Rejected, SellerAnswer, Settled, Verdict
from autopay.domain.payment.ports import Facilitator, Ledger, Sealer, Seller
from autopay.domain.payment.status import TransactionStatus
from autopay.domain.payment.steps import AttemptRef

HEARTBEAT_S = 3
KEEP_TRYING_S = 25  # within what SUBMIT_STEP leaves beside the seller's 120 s
LOOK_EVERY_S = 10
"""How often the chain is asked about a payment whose seller has not answered yet."""


class SubmitStep:
    """The request with its payment; may run any number of times for one attempt.

    A facilitator that was asked to verify has seen the bytes, so its objection proves nothing: the chain is asked.

    Args:
        verify: asks the chain about the attempt, and books what it shows; meanwhile, when the seller lets us wait.
    """

    def __init__(
        self,
        ledger: Ledger,
        seller: Seller,
        vault: Sealer,
        verify: Callable[[AttemptRef], Awaitable[Verdict]],
        facilitator: Facilitator | None = None,
    ) -> None:
        self._ledger = ledger
        self._seller = seller
        self._vault = vault
        self._verify = verify
        self._facilitator = facilitator

    @activity.defn(name="submit")
    async def submit(self, ref: AttemptRef) -> SellerAnswer:
        """Send once; no complete answer is an answer too (`NoAnswer`)."""
        key = ref.order.request_key
        record = await self._ledger.requests.get(key)
        attempt = await self._ledger.payments.attempt(key, ref.number)
        if attempt is None:
            raise UnknownRequest(f"attempt {ref.number} of {key}")
        payment = self._vault.open(attempt.sealed, purpose="payment", row=f"{key}/{ref.number}")
        if self._facilitator is not None and attempt.status is TransactionStatus.PENDING:
            objection = await self._facilitator.objection(payment)
            if objection is not None:
                return Rejected(http_status=402, reason=f"facilitator: {objection}"[:200])
        await self._ledger.payments.record_sending(attempt.attempt_id)
        async with _beside(_heartbeats()):
            try:
                extras = open_extras(self._vault, record)
                spec = record.spec  # not the order's URL: the payment goes where policy looked
                async with _beside(self._looks(ref)):
                    reply = await self._seller.pay(spec.url, spec.method, extras, attempt.version, payment)
                answer = classify(reply)
                await self._keep(attempt.attempt_id, reply, answer)
            except SellerUnavailable as fault:
                return NoAnswer(reason=str(fault)[:200])
        return answer

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
    """Tell the server that this worker lives, so that its death is noticed in seconds."""
    while True:
        activity.heartbeat()
        await asyncio.sleep(HEARTBEAT_S)
