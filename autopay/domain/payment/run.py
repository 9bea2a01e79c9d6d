"""The life of one paid request, from the plain question to money that is final: the six steps, in their order.

A loop over `next_step`. It does no I/O and knows no Temporal: `Steps` does each step, durably in the workflow
`PaidRequest`, with faults at every call in the simulation. Everything that could be lost is in the ledger before
the next step may act on it.

| crash or cancel | what is known when it goes on |
|---|---|
| before sign commits | nothing was reserved, nothing can leave: it starts over |
| while a person is asked | the question is in the ledger, and so is the answer: it starts over, and finds it |
| after sign, before submit | the recorded bytes: they are handed over |
| in submit | maybe sent: the same bytes again, and the chain is asked |
| after submit, before verify | an attempt without an outcome: the chain is asked, nothing new is signed |
| after verify, before log | the outcome is in the ledger: `recall` finds it |
"""

from typing import Protocol, assert_never

from autopay.domain.money import show
from autopay.domain.payment.notice import Held, Notice
from autopay.domain.payment.offer import Challenge, Offer
from autopay.domain.payment.payment import (
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
    result_of,
    why_unpaid,
)
from autopay.domain.payment.steps import (
    AttemptRef,
    FetchFailed,
    FetchResult,
    FreeContent,
    LogInput,
    PaidBefore,
    ParseResult,
    PaymentOrder,
    RecallResult,
    SignedAttempt,
    SignInput,
    SignResult,
)
from autopay.domain.policy.policy import Awaiting
from autopay.domain.refusal import RefusalReason, Refused
from autopay.domain.request import RequestResult, RequestStatus

FIRST_WAIT_MS, LONGEST_WAIT_MS = 2_000, 60_000
"""The wait after the chain or the ledger did not answer doubles from the first to the most."""


OUTAGES = ("chain_unavailable", "node_behind", "ledger_unavailable", "ledger_fenced", "step_timed_out")
"""Faults of signing that pass: the request is held until they have. Nothing was recorded, so nothing can leave."""

UNKNOWN_REQUEST = "unknown_request"
"""The ledger does not know what this run knows: it was restored, and its view is taken up anew. A run whose request it
does not know at all ends; the agent is told, so that it can be asked again."""


class StepFailed(Exception):
    """A step was given up: its retries are used up, or its fault is permanent. `type` is the fault's stable name."""

    def __init__(self, fault: str, message: str) -> None:
        super().__init__(message)
        self.type = fault
        self.message = message


class Steps(Protocol):
    """How each step is done. Any of them may raise StepFailed; what it did by then may or may not have happened.

    `person` returns when somebody has decided, when the question has expired, or when the request is canceled: which
    of them, the ledger says when signing is tried again.
    """

    async def recall(self, order: PaymentOrder) -> RecallResult: ...
    async def fetch(self, order: PaymentOrder) -> FetchResult: ...
    async def parse(self, order: PaymentOrder, challenge: Challenge) -> ParseResult: ...
    async def sign(self, to_sign: SignInput, price: str) -> SignResult: ...
    async def submit(self, ref: AttemptRef, send: int, price: str) -> SellerAnswer: ...
    async def verify(self, ref: AttemptRef, price: str) -> Verdict: ...
    async def log(self, closing: LogInput) -> None: ...
    async def wait(self, wait_ms: int, why: str) -> None: ...
    async def person(self, awaiting: Awaiting) -> None: ...
    async def announce(self, notice: Notice) -> None: ...
    def show(self, now: str, payment: Payment) -> None: ...


class PaymentRun:
    """Runs one request to its end. `canceled` may be set at any time: nothing more is signed from then on."""

    def __init__(self, order: PaymentOrder, steps: Steps) -> None:
        self.order = order
        self.steps = steps
        self.payment = Payment()
        self.signed: SignedAttempt | None = None
        self.canceled = order.canceled
        self._result: RequestResult | None = None
        self._closed = False
        self._announced_answer = False
        self._chain_away_ms = FIRST_WAIT_MS
        self._hold_ms = FIRST_WAIT_MS
        self._held: Held | None = None

    async def run(self) -> RequestResult:
        """Step by step until the money is final and the request is closed."""
        try:
            return await self._run()
        except StepFailed as failed:
            if failed.type == UNKNOWN_REQUEST:
                lost = self._result_as(RequestStatus.FAILED, failed.type, failed.message)
                await self.steps.announce(self._notice(lost, final=True))
            raise

    async def _run(self) -> RequestResult:
        await self._recall()
        while True:
            while self._result is None:
                await self._step(next_step(self.payment))
            if self._closed or await self._stands(self._result):
                return await self._log(self._result)

    async def _step(self, step: Step) -> None:
        match step:
            case Sign(number=number):
                await self._fetch_parse_sign(number)
            case Submit():
                await self._submit(step)
            case Verify():
                await self._verify(step)
            case Done():
                self._finish(step)
            case _:
                assert_never(step)

    async def _recall(self) -> None:
        self._adopt(await self.steps.recall(self.order))

    def _adopt(self, recalled: RecallResult) -> None:
        self.payment, self.signed = recalled.payment, recalled.signed
        if recalled.closed is not None:
            self._result, self._closed = recalled.closed, True
        elif self.payment.delivered and not self.payment.attempts:
            self._end(RequestStatus.FREE)

    async def _fetch_parse_sign(self, number: int) -> None:
        if self.canceled:
            self._end(RequestStatus.REFUSED, RefusalReason.CANCELED, "canceled before anything was paid")
            return
        offer = await self._offer()
        if offer is None:
            return
        if self.canceled:  # while the seller was asked
            self._end(RequestStatus.REFUSED, RefusalReason.CANCELED, "canceled before anything was paid")
            return
        price = show(offer.amount_atomic, offer.currency)
        self._show(f"{price} asked by `{offer.pay_to}`; signing attempt {number}")
        try:
            signed = await self.steps.sign(SignInput(order=self.order, number=number, offer=offer), price)
        except StepFailed as failed:
            await self._recall()  # it may have been recorded all the same, or be needless by now
            known = self.payment.delivered or len(self.payment.attempts) == number
            if known or self._result is not None:
                return
            if failed.type in OUTAGES:
                await self._hold(failed)
            else:
                self._end(RequestStatus.FAILED, failed.type, failed.message)
            return
        if isinstance(signed, Awaiting):
            await self._ask_a_person(signed)
            return
        if isinstance(signed, PaidBefore):
            self._result = paid_before_result(self.order, self.payment, signed)
            return
        if isinstance(signed, Refused):
            self._end(RequestStatus.REFUSED, signed.reason, signed.message)
            return
        self.signed = signed
        self.payment = self.payment.signed(number)
        await self._going_on()

    async def _hold(self, failed: StepFailed) -> None:
        """Nothing can be signed for a while: let others have the slot, wait, and start over with a fresh offer."""
        self._show(f"held before signing: {failed.message}"[:MAX_MESSAGE_CHARS])
        await self._held_by("chain", failed.type, failed.message)
        await self._wait(self._hold_ms, "before signing is tried again")
        self._hold_ms = min(self._hold_ms * 2, LONGEST_WAIT_MS)

    async def _ask_a_person(self, awaiting: Awaiting) -> None:
        """Wait for a person's word, then start over: the offer may have changed, and the ledger knows the word."""
        price = show(awaiting.amount_atomic, awaiting.currency)
        self._show(
            f"**waits for a person**: {price} to `{awaiting.pay_to}`: {awaiting.why}\n\n"
            f"until {awaiting.expires_at:%F %T} UTC; approve or deny `{awaiting.approval_id}`, terms "
            f"`{awaiting.terms_hash}`"
        )
        await self._held_by("approval", None, awaiting.why)
        await self.steps.person(awaiting)
        await self._going_on()

    async def _held_by(self, held: Held | None, error: str | None, message: str) -> None:
        if held != self._held:
            self._held = held
            notice = self._notice(self._result_as(RequestStatus.WAITING), final=False)
            last_answer = {"held": held, "error": error, "message": message[:MAX_MESSAGE_CHARS] or None}
            await self.steps.announce(notice.model_copy(update=last_answer))

    async def _going_on(self) -> None:
        self._hold_ms = FIRST_WAIT_MS
        await self._held_by(None, None, "")

    async def _offer(self) -> Offer | None:
        """Fetch and parse; None when the request ends here."""
        self._show("asking the seller")
        try:
            fetched = await self._fetch()
        except StepFailed as failed:
            self._end(RequestStatus.FAILED, failed.type, failed.message)
            return None
        match fetched:
            case FreeContent(http_status=status):
                self._answered(status)
                self._end(RequestStatus.FREE)
            case FetchFailed(type=kind, message=message, http_status=status):
                self._answered(status)
                self._end(RequestStatus.FAILED, kind, message)
            case Refused(reason=reason, message=message):
                self._answered(
                    None if reason in (RefusalReason.INSECURE_TRANSPORT, RefusalReason.ADDRESS_NOT_ALLOWED) else 402
                )
                self._end(RequestStatus.REFUSED, reason, message)
            case Challenge():
                self._answered(402)
                return await self._agree(fetched)
            case _:
                assert_never(fetched)
        return None

    async def _fetch(self) -> FetchResult:
        """The seller's answer. Its own faults end the request after a few tries; the ledger's are waited out."""
        wait_ms = FIRST_WAIT_MS
        while True:
            try:
                return await self.steps.fetch(self.order)
            except StepFailed as failed:
                if failed.type != "ledger_unavailable" or self.canceled:
                    raise
                await self._wait(wait_ms, "for the ledger")
                wait_ms = min(wait_ms * 2, LONGEST_WAIT_MS)

    async def _agree(self, challenge: Challenge) -> Offer | None:
        try:
            parsed = await self.steps.parse(self.order, challenge)
        except StepFailed as failed:
            self._end(RequestStatus.FAILED, failed.type, failed.message)
            return None
        if isinstance(parsed, Offer):
            return parsed
        self._end(RequestStatus.REFUSED, parsed.reason, parsed.message)
        return None

    async def _submit(self, step: Submit) -> None:
        await self._wait(step.wait_ms, f"before sending the same bytes again ({step.send})")
        self._show(f"submitting {self._price()}, attempt {step.number}")
        answer: SellerAnswer
        try:
            answer = await self.steps.submit(self._ref(step.number), step.send, self._price())
        except StepFailed as failed:
            if failed.type == UNKNOWN_REQUEST:
                await self._recall()
                return
            answer = NoAnswer(reason=failed.type)
        self.payment = self.payment.answered(answer)
        if self.payment.delivered and not self._announced_answer:
            self._announced_answer = True
            await self.steps.announce(self._notice(self._result_as(RequestStatus.DELIVERED), final=False))

    async def _verify(self, step: Verify) -> None:
        last = self.payment.last
        why = f"until {self._price()} is final" if last and last.seen else "before the chain is asked again"
        await self._wait(step.wait_ms, why)
        verdict: Verdict
        try:
            verdict = await self.steps.verify(self._ref(step.number), self._price())
            self._chain_away_ms = FIRST_WAIT_MS
        except StepFailed as failed:
            if failed.type == UNKNOWN_REQUEST:
                await self._recall()
                return
            verdict = Unknown(reason=failed.type, retry_after_ms=self._chain_away_ms)
            self._chain_away_ms = min(self._chain_away_ms * 2, LONGEST_WAIT_MS)
        self.payment = self.payment.judged(verdict)
        why = f": {verdict.reason}" if isinstance(verdict, Unknown | Dead) else ""
        self._show(f"{self._price()} is {verdict.kind}{why}")

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

    async def _stands(self, result: RequestResult) -> bool:
        """Whether the ledger agrees that this is the end.

        A worker can die after the ledger recorded an attempt and before the history has it; what is replayed does
        not know of it. And a submit that was given up may have stored the content. The ledger knows both.
        """
        if result.status == RequestStatus.DELIVERED:
            return True
        recalled = await self.steps.recall(self.order)
        if recalled.closed is None and _facts(recalled.payment) == _facts(self.payment):
            return True
        self._result = None
        self._adopt(recalled)
        return False

    async def _log(self, result: RequestResult) -> RequestResult:
        if not self._closed:
            await self.steps.log(LogInput(order=self.order, result=result))
        await self.steps.announce(self._notice(result, final=True))
        self._show(f"ended: **{result.status}**")
        return result

    # Small things

    @property
    def is_settled(self) -> bool:
        """The newest attempt is final on chain."""
        return self.payment.last is not None and isinstance(self.payment.last.outcome, Settled)

    def _end(self, status: RequestStatus, error: str | None = None, message: str = "") -> None:
        self._result = self._result_as(status, error, message)

    def _result_as(self, status: RequestStatus, error: str | None = None, message: str = "") -> RequestResult:
        return result_of(self.order, self.payment, self.signed, status, error, message)

    def _notice(self, result: RequestResult, *, final: bool) -> Notice:
        return notice_of(self.payment, self.signed, result, final=final)

    def _answered(self, http_status: int | None) -> None:
        self.payment = self.payment.model_copy(update={"http_status": http_status})

    def _ref(self, number: int) -> AttemptRef:
        return AttemptRef(order=self.order, number=number)

    async def _wait(self, wait_ms: int, why: str) -> None:
        if wait_ms > 0:
            await self.steps.wait(wait_ms, why)

    def _price(self) -> str:
        return show(self.signed.amount_atomic, self.signed.currency) if self.signed else "a payment"

    def _show(self, now: str) -> None:
        self.steps.show(now, self.payment)


def _facts(payment: Payment) -> tuple[bool, tuple[str | None, ...]]:
    """What a run and the ledger must agree on before the request can end: the content, and every outcome."""
    outcomes = (attempt.outcome.kind if attempt.outcome else None for attempt in payment.attempts)
    return payment.delivered, tuple(outcomes)
