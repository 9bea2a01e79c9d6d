"""The life of one paid request, from asking the seller to money that is final: six steps in their order.

A loop over `next_step`. It does no I/O and knows no Temporal: `Steps` does each step, durably in the workflow
`PaidRequest`, with faults at every call in the simulation. Everything that could be lost is in the ledger before
the next step may act on it.

| crash or cancel | what is known when it goes on |
|---|---|
| before sign commits | nothing was reserved, nothing can leave: it starts over; a first run as if it had not begun |
| while a person is asked | the question is in the ledger, and so is the answer: it starts over, and finds it |
| after sign, before submit | the recorded bytes: they are handed over |
| in submit | maybe sent: the same bytes again, and the chain is asked |
| in submit of what has settled, given up | the ledger is asked which sends it has: no other counts |
| after submit, before verify | an attempt without an outcome: the chain is asked, nothing new is signed |
| after verify, before log | the ledger has the outcome, or the content: then the chain is asked again |
"""

from datetime import timedelta
from typing import assert_never

from autopay.domain.backoff import Backoff
from autopay.domain.money import price_text
from autopay.domain.payment.notice import Held
from autopay.domain.payment.offer import Challenge, Offer
from autopay.domain.payment.payment import (
    ContentFacts,
    Dead,
    Done,
    NoAnswer,
    Payment,
    SellerAnswer,
    Settled,
    Sign,
    Step,
    Submit,
    Unknown,
    Verdict,
    Verify,
    next_step,
)
from autopay.domain.payment.report import (
    MAX_MESSAGE_CHARS,
    last_answer_text,
    notice_of,
    paid_before_result,
    question_text,
    result_of,
    why_unpaid,
)
from autopay.domain.payment.steps import (
    MAYBE_NOT_SENT,
    NOT_ASKED,
    ORDER_DIFFERS,
    OUTAGES,
    UNKNOWN_REQUEST,
    FetchFailed,
    FetchResult,
    FreeContent,
    LogInput,
    PaidBefore,
    PaymentOrder,
    RecallResult,
    SettledAttempt,
    SignedAttempt,
    SignInput,
    StepFailed,
    Steps,
)
from autopay.domain.policy.policy import Awaiting
from autopay.domain.refusal import RefusalReason, Refused
from autopay.domain.request import RequestResult, RequestStatus

RETRY = Backoff(timedelta(seconds=2), timedelta(minutes=1))
"""The waits after the chain or the ledger did not answer."""


class PaymentRun:
    """Runs one request to its end. `canceled` may be set at any time: nothing more is signed from then on.

    `signed` is the newest attempt as the ledger recorded it, None before the first.
    """

    def __init__(self, order: PaymentOrder, steps: Steps) -> None:
        self.order = order
        self.steps = steps
        self.payment = Payment()
        self.signed: SignedAttempt | None = None
        self.canceled = order.canceled
        self._challenge: Challenge | None = None
        self._settled: SettledAttempt | None = None
        self._result: RequestResult | None = None
        self._closed = False
        self._announced_hold: Held | None = None
        self._verify_failures = 0
        self._sign_failures = 0
        self._submits_not_sent = 0

    async def run(self) -> RequestResult:
        """Step by step until the money is final and the request is closed."""
        try:
            return await self._run()
        except StepFailed as failed:
            if failed.type == UNKNOWN_REQUEST:
                lost = self._result_as(RequestStatus.FAILED, failed.type, failed.message)
                await self.steps.announce(notice_of(lost, final=True))
            raise

    async def _run(self) -> RequestResult:
        if self.order.accepted is None:
            await self._recall()
        while True:
            while self._result is None:
                await self._step(next_step(self.payment))
            if self._closed or await self._ledger_agrees(self._result):
                return await self._log(self._result)

    async def _step(self, step: Step) -> None:
        match step:
            case Sign(number=number):
                await self._fetch_parse_sign(number)
            case Submit():
                await self._submit_unless_canceled(step)
            case Verify():
                await self._verify(step)
            case Done():
                self._finish(step)
            case _:
                assert_never(step)

    # How the request stands in the ledger

    async def _recall(self) -> None:
        self._resume_from(await self.steps.recall(self.order))

    def _resume_from(self, recalled: RecallResult) -> None:
        self.order = self.order.for_another_run()  # from now on it is not the first run that knows nothing
        self.payment, self.signed = recalled.payment, recalled.signed
        if recalled.closed is not None:
            self._result, self._closed = recalled.closed, True
        elif self.payment.delivered and not self.payment.attempts:
            self._end(RequestStatus.FREE)

    async def _ledger_agrees(self, result: RequestResult) -> bool:
        """Whether the ledger agrees that this is the end; if not, the run goes on from what the ledger has.

        A worker can die after the ledger recorded an attempt and before the history has it; what is replayed does
        not know of it. And a submit that was given up may have stored the content. The ledger knows both.
        """
        if result.status == RequestStatus.DELIVERED:
            return True
        recalled = await self.steps.recall(self.order)
        if recalled.closed is None and recalled.payment.decided == self.payment.decided:
            return True
        self._result = None
        self._resume_from(recalled)
        return False

    # Steps 1 to 3: fetch, parse, sign

    async def _fetch_parse_sign(self, number: int) -> None:
        if self._ended_by_cancel():
            return
        offer = await self._fetch_and_parse()
        if offer is None or self._ended_by_cancel():  # canceled while the seller was asked
            return
        await self._sign(number, offer)

    def _ended_by_cancel(self) -> bool:
        if self.canceled:
            self._end(RequestStatus.REFUSED, RefusalReason.CANCELED, "canceled before anything was paid")
        return self.canceled

    async def _fetch_and_parse(self) -> Offer | None:
        """The offer to pay; None when the request ends here."""
        self._show("asking the seller")
        try:
            fetched = await self._fetch()
        except StepFailed as failed:
            await self._not_asked(failed)
            return None
        match fetched:
            case FreeContent(http_status=status, complete=complete, encoding=encoding):
                content = ContentFacts(complete=complete, encoding=encoding)
                self.payment = self.payment.model_copy(update={"http_status": status, "content": content})
                self._end(RequestStatus.FREE)
            case FetchFailed(type=error, message=message, http_status=status):
                self.payment = self.payment.with_http_status(status)
                self._end(RequestStatus.FAILED, error, message)
            case Refused(reason=reason, message=message):
                self.payment = self.payment.with_http_status(None if reason in NOT_ASKED else 402)
                self._end(RequestStatus.REFUSED, reason, message)
            case Challenge():
                self.payment = self.payment.with_http_status(402)
                self._challenge = fetched
                return await self._parse(fetched)
            case _:
                assert_never(fetched)
        return None

    async def _not_asked(self, failed: StepFailed) -> None:
        """The request ends here, unless it is another one than the ledger has: then it goes on with that one."""
        if failed.type == ORDER_DIFFERS:
            await self._recall()
        else:
            self._end(RequestStatus.FAILED, failed.type, failed.message)

    async def _fetch(self) -> FetchResult:
        """The seller's answer. A seller's faults end the request after a few tries; the ledger's are waited out."""
        failures = 0
        while True:
            try:
                return await self.steps.fetch(self.order)
            except StepFailed as failed:
                if failed.type != "ledger_unavailable" or self.canceled:
                    raise
                await self._wait(RETRY.wait_ms(failures), "for the ledger")
                failures += 1

    async def _parse(self, challenge: Challenge) -> Offer | None:
        try:
            parsed = await self.steps.parse(self.order, challenge)
        except StepFailed as failed:
            await self._not_asked(failed)
            return None
        if isinstance(parsed, Offer):
            return parsed
        self._end(RequestStatus.REFUSED, parsed.reason, parsed.message)
        return None

    async def _sign(self, number: int, offer: Offer) -> None:
        self._show(f"{price_text(offer)} asked by `{offer.pay_to}`; signing attempt {number}")
        try:
            to_sign = SignInput(order=self.order, number=number, offer=offer, challenge=self._challenge)
            signed = await self.steps.sign(to_sign)
        except StepFailed as failed:
            await self._sign_failed(number, failed)
            return
        match signed:
            case SignedAttempt(is_new=False) if self.order.accepted is not None:
                await self._recall()  # another run knows more
            case SignedAttempt():
                self.signed = signed
                self.payment = self.payment.with_attempt(number, signed.max_settled_sends)
                await self._announce_resumed()
            case Awaiting():
                await self._wait_for_approval(signed)
            case PaidBefore():
                self._result = paid_before_result(self.order, self.payment, signed)
            case Refused(reason=reason, message=message):
                self._end(RequestStatus.REFUSED, reason, message)
            case _:
                assert_never(signed)

    async def _sign_failed(self, number: int, failed: StepFailed) -> None:
        await self._recall()  # the attempt may have been recorded all the same, or be needless by now
        known = self.payment.delivered or len(self.payment.attempts) == number
        if known or self._result is not None:
            return
        if failed.type in OUTAGES:
            await self._hold(failed)
        elif failed.type != ORDER_DIFFERS:  # with that, it goes on with what the ledger has
            self._end(RequestStatus.FAILED, failed.type, failed.message)

    async def _hold(self, failed: StepFailed) -> None:
        """Nothing can be signed for a while: let others have the slot, wait, and start over with a fresh offer."""
        self._show(f"held before signing: {failed.message}"[:MAX_MESSAGE_CHARS])
        await self._announce_hold("chain", failed.type, failed.message)
        self._sign_failures += 1
        await self._wait(RETRY.wait_ms(self._sign_failures - 1), "before signing is tried again")

    async def _wait_for_approval(self, awaiting: Awaiting) -> None:
        """Wait until a person decides, then start over: the offer may have changed, and the ledger has the decision."""
        self._show(question_text(awaiting))
        await self._announce_hold("approval", None, awaiting.why)
        await self.steps.wait_for_approval(awaiting)
        await self._announce_resumed()

    async def _announce_hold(self, held: Held | None, error: str | None, message: str) -> None:
        """Tell the agent once what the request waits for; None that it goes on."""
        if held != self._announced_hold:
            self._announced_hold = held
            notice = notice_of(self._result_as(RequestStatus.WAITING), final=False)
            why = {"held": held, "error": error, "message": message[:MAX_MESSAGE_CHARS] or None}
            await self.steps.announce(notice.model_copy(update=why))

    async def _announce_resumed(self) -> None:
        self._sign_failures = 0
        await self._announce_hold(None, None, "")

    # Step 4: submit

    async def _submit_unless_canceled(self, step: Submit) -> None:
        """What has settled is asked for without a slot of the agent's, for minutes, and not when nobody wants it."""
        if not self.payment.asks_for_what_settled:
            await self._submit(step)
        elif self.canceled:
            self._finish(Done(result="undelivered"))
        else:
            await self._announce_hold("content", None, f"paid, and {last_answer_text(self.payment)}: asked for again")
            await self._submit(step)

    async def _submit(self, step: Submit) -> None:
        attempt = self._recorded(step.number)
        await self._wait(step.wait_ms, f"before sending the same bytes again ({step.send})")
        self._show(f"submitting {price_text(attempt)}, attempt {step.number}")
        answer: SellerAnswer
        told = notice_of(self._result_as(RequestStatus.DELIVERED), final=False)
        try:
            answer = await self.steps.submit(self.order, attempt, step.send, told)
        except StepFailed as failed:
            if failed.type == UNKNOWN_REQUEST:
                await self._recall()
                return
            if self.payment.asks_for_what_settled and failed.type in MAYBE_NOT_SENT:
                await self._recall_sends()
                return
            answer = NoAnswer(reason=failed.type)
        self._submits_not_sent = 0
        self.payment = self.payment.with_answer(answer)

    async def _recall_sends(self) -> None:
        """Go on with the sends that the ledger has. One that it does not have never left: it is tried again, however
        often, as a request must not end because its ledger was away."""
        counted = self.payment.last.settled_sends if self.payment.last else 0
        await self._recall()
        last = self.payment.last
        if self._result is not None or self.payment.delivered or last is None or last.settled_sends > counted:
            self._submits_not_sent = 0
        elif not self.canceled:
            await self._wait(RETRY.wait_ms(self._submits_not_sent), "for the ledger")
            self._submits_not_sent += 1

    # Step 5: verify

    async def _verify(self, step: Verify) -> None:
        attempt, last = self._recorded(step.number), self.payment.last
        price = price_text(attempt)
        landed = last is not None and (last.seen or last.final_in_ms > 0)
        await self._wait(step.wait_ms, f"until {price} is final" if landed else "before the chain is asked again")
        verdict: Verdict
        try:
            verdict = await self.steps.verify(self.order, attempt, closing=self.payment.delivered)
            self._verify_failures = 0
        except StepFailed as failed:
            if failed.type == UNKNOWN_REQUEST:
                await self._recall()
                return
            verdict = Unknown(reason=failed.type, retry_after_ms=RETRY.wait_ms(self._verify_failures))
            self._verify_failures += 1
        if isinstance(verdict, Settled) and self.payment.delivered:
            self._settled = SettledAttempt(attempt_id=attempt.attempt_id, settlement=verdict.settlement)
        self.payment = self.payment.with_verdict(verdict)
        why = f": {verdict.reason}" if isinstance(verdict, Unknown | Dead) else ""
        self._show(f"{price} is {verdict.kind}{why}")

    # Step 6: log

    def _finish(self, done: Done) -> None:
        match done.result:
            case "delivered" | "delivered_unpaid":
                self._end(RequestStatus.DELIVERED)
            case "undelivered":
                self._end(RequestStatus.UNDELIVERED, "paid_undelivered", f"paid, and {last_answer_text(self.payment)}")
            case "unpaid":
                self._end(RequestStatus.FAILED, *why_unpaid(self.payment))
            case _:
                assert_never(done.result)

    async def _log(self, result: RequestResult) -> RequestResult:
        notice = notice_of(result, final=True)
        if self._closed:
            await self.steps.announce(notice)
        else:
            await self.steps.log(LogInput(order=self.order, result=result, settled=self._settled, notice=notice))
        why = f", {result.error.type}: {result.error.message}" if result.error else ""
        self._show(f"ended: **{result.status}**{why}")
        return result

    # What the steps share

    def _recorded(self, number: int) -> SignedAttempt:
        assert self.signed is not None, "an attempt that is submitted or verified is in the ledger"
        assert self.signed.number == number
        return self.signed

    def _end(self, status: RequestStatus, error: str | None = None, message: str = "") -> None:
        self._result = self._result_as(status, error, message)

    def _result_as(self, status: RequestStatus, error: str | None = None, message: str = "") -> RequestResult:
        return result_of(self.order, self.payment, self.signed, status, error, message)

    async def _wait(self, wait_ms: int, why: str) -> None:
        if wait_ms > 0:
            await self.steps.wait(wait_ms, why)

    def _show(self, now: str) -> None:
        self.steps.show(now, self.payment)
