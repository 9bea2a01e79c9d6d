"""Deliberate bugs: what a hasty buyer of x402 APIs would do. The simulation must find each of them within a few seeds.

Where the ledger's own guards would catch a mistake of the core, the bug removes the guard as well: the point is that
the auditor sees the damage, not who prevents it.
"""

from collections.abc import Callable
from copy import copy
from inspect import getattr_static
from typing import Any

from activities.log import LogStep
from activities.sign import Readings, SignStep, summary_of
from activities.submit import SubmitStep
from autopay.domain.payment import run as payment_run
from autopay.domain.payment.attempt import RecordedAttempt, SignedPayment, UnsignedPayment
from autopay.domain.payment.exchange import Receipt, Reply, RequestExtras
from autopay.domain.payment.payment import (
    Dead,
    NoAnswer,
    Payment,
    Rejected,
    SellerAnswer,
    Settled,
    Sign,
    Step,
    next_step,
)
from autopay.domain.payment.run import PaymentRun
from autopay.domain.payment.steps import (
    AttemptRef,
    PaymentOrder,
    RecallResult,
    SignedAttempt,
    SignInput,
    SignResult,
    StepFailed,
)
from autopay.domain.policy.policy import Ask, Awaiting, Decision, Permit
from autopay.domain.refusal import Refused
from autopay.domain.request import RequestResult, RequestStatus
from tests.simulation.bugs_in_looking import BUGS_IN_LOOKING, Swap
from tests.world.ledger import MemoryLedger
from tests.world.ledger_payments import MemoryPayments
from tests.world.ledger_policies import MemoryPolicies
from tests.world.ledger_requests import MemoryRequests
from tests.world.ledger_sessions import MemorySessions
from tests.world.rows import AttemptEntry
from tests.world.seller import SimSeller
from tests.world.store import transaction

Bug = Callable[[], list[Swap]]

_submit = SubmitStep.submit
_with_answer = Payment.with_answer
_judged = MemoryPolicies.judged


def _dead_after(believed_dead: Callable[[SellerAnswer, Reply | None], bool]) -> list[Swap]:
    """The payment counts as dead by what the seller said, in the core and in the ledger."""

    async def submit(self: SubmitStep, ref: AttemptRef) -> SellerAnswer:
        said: list[Reply] = []
        pay = self._seller.pay

        class Listening:
            async def pay(self, *args: Any) -> Reply:
                said.append(await pay(*args))
                return said[-1]

        listening = copy(self)
        listening._seller = Listening()  # type: ignore[assignment]
        answer = await _submit(listening, ref)
        if believed_dead(answer, said[-1] if said else None):
            attempt = await self._ledger.payments.attempt(ref.order.request_key, ref.number)
            if attempt is not None and attempt.status != "VERIFIED":
                await self._ledger.payments.record_dead(attempt.attempt_id, "the seller said so")
                return Rejected(http_status=402, reason="dead")
        return answer

    def with_answer(self: Payment, answer: SellerAnswer) -> Payment:
        after = _with_answer(self, answer)
        if isinstance(answer, Rejected) and answer.reason == "dead":
            return after._replace_last(outcome=Dead(reason="the seller said so"))
        return after

    return [(SubmitStep, "submit", submit), (Payment, "with_answer", with_answer)]


def signs_again_after_a_time_out() -> list[Swap]:
    return _dead_after(lambda answer, _: isinstance(answer, NoAnswer))


def takes_a_402_for_unpaid() -> list[Swap]:
    return _dead_after(lambda answer, _: isinstance(answer, Rejected) and answer.http_status == 402)


def takes_success_false_for_unpaid() -> list[Swap]:
    return _dead_after(lambda _, reply: bool(reply and reply.receipt and not reply.receipt.success))


def takes_a_server_error_for_unpaid() -> list[Swap]:
    return _dead_after(lambda answer, _: isinstance(answer, Rejected) and answer.http_status >= 500)


def releases_the_reservation_of_an_unknown_payment() -> list[Swap]:
    def usage_of(self: MemorySessions, session_id: Any) -> tuple[int, int]:
        mine = [each for each in self.store.attempts.values() if each.session.session_id == session_id]
        sure = [each.amount_atomic for each in mine if each.status.value in ("SUCCESS", "VERIFIED")]
        return len(sure), sum(sure)

    return [(MemorySessions, "usage_of", usage_of)]


def takes_a_yes_to_other_terms() -> list[Swap]:
    def approval_of(self: MemoryPolicies, row: Any, terms: Any) -> Any:
        asked = [each for each in self.store.approvals if each.request_key == row.key]
        return asked[-1] if asked else None

    return [(MemoryPolicies, "approval_of", approval_of)]


def takes_any_decision() -> list[Swap]:
    decide = getattr_static(MemoryPolicies, "decide")

    async def careless(self: MemoryPolicies, decision: Decision) -> Refused | None:
        asked = [each for each in self.store.approvals if each.approval_id == decision.approval_id]
        asked = asked or [each for each in self.store.approvals if each.terms.hash() == decision.terms_hash]
        if asked:
            about = {"approval_id": asked[0].approval_id, "terms_hash": asked[0].terms.hash()}
            decision = decision.model_copy(update=about)
        found: Refused | None = await decide(self, decision)
        return found

    return [(MemoryPolicies, "decide", careless)]


def takes_being_woken_for_a_yes() -> list[Swap]:
    wait_for_approval, woken = PaymentRun._wait_for_approval, set()

    async def wait(self: PaymentRun, awaiting: Awaiting) -> None:
        await wait_for_approval(self, awaiting)
        woken.add(self.order.request_key)

    def judged(self: MemoryPolicies, row: Any, offer: Any, program: str) -> Any:
        terms, verdict = _judged(self, row, offer, program)
        return terms, Permit() if isinstance(verdict, Ask) and row.key in woken else verdict

    return [(PaymentRun, "_wait_for_approval", wait), (MemoryPolicies, "judged", judged)]


def asks_a_person_when_it_is_too_late() -> list[Swap]:
    def judged(self: MemoryPolicies, row: Any, offer: Any, program: str) -> Any:
        terms, verdict = _judged(self, row, offer, program)
        return terms, Permit() if isinstance(verdict, Ask) else verdict

    return [(MemoryPolicies, "judged", judged)]


def counts_only_settled_money_against_the_day() -> list[Swap]:
    def judged(self: MemoryPolicies, row: Any, offer: Any, program: str) -> Any:
        attempts = self.store.attempts
        self.store.attempts = {key: each for key, each in attempts.items() if each.status.value == "VERIFIED"}
        try:
            return _judged(self, row, offer, program)
        finally:
            self.store.attempts = attempts

    return [(MemoryPolicies, "judged", judged)]


def ends_a_request_again() -> list[Swap]:
    @transaction
    def close(self: MemoryRequests, request_key: str, result: RequestResult, settled: Any = None) -> None:
        if settled is not None:
            self.store.book_transfer(settled.attempt_id, settled.settlement, final=True)
        row = self.store.request_row(request_key)
        row.result, row.closed, row.processed = result, True, True

    def believes_the_last(self: MemoryPayments, request_key: str) -> Any:
        return self.store.request_row(request_key).payment()

    return [
        (MemoryRequests, "close", close),
        (MemoryPayments, "recall", transaction(believes_the_last)),
        *_forgets_ends(),
    ]


def _forgets_ends() -> list[Swap]:
    recall = LogStep.recall

    async def without_the_end(self: LogStep, order: Any) -> Any:
        return (await recall(self, order)).model_copy(update={"closed": None})

    return [(LogStep, "recall", without_the_end)]


def sends_before_recording() -> list[Swap]:
    sellers: list[SimSeller] = []
    record_attempt = MemoryPayments.record_attempt
    ask = SimSeller.ask

    async def remembering(self: SimSeller, url: str, method: Any, extras: RequestExtras) -> Any:
        sellers[:] = [self]
        return await ask(self, url, method, extras)

    async def record(
        self: MemoryPayments, request_key: str, number: int, session_id: Any, signed: SignedPayment, context: Any
    ) -> Any:
        url = self.store.requests[request_key].spec.url
        payment = signed.sealed.split("|", 2)[2].encode()
        await sellers[0].pay(url, "GET", RequestExtras(), signed.offer.version, payment)
        return await record_attempt(self, request_key, number, session_id, signed, context)

    return [(SimSeller, "ask", remembering), (MemoryPayments, "record_attempt", record)]


def signs_anew_when_asked_again() -> list[Swap]:
    async def sign(self: SignStep, to_sign: SignInput) -> SignResult:
        order = to_sign.order
        ready = await self._ready_to_sign(Readings(self._chain, self._ledger.sessions), order.agent, to_sign.offer)
        if isinstance(ready, Refused):
            return ready
        unsigned = UnsignedPayment(
            agent=order.agent,
            request_key=order.request_key,
            number=to_sign.number,
            offer=to_sign.offer,
            session=ready.session.key,
            mint=ready.mint,
            newest_prior_signature=ready.newest_signature,
            blockhash=ready.blockhash,
        )
        signed = self._signer.sign(unsigned, ready.session.sealed_key)
        ledger = self._ledger
        assert isinstance(ledger, MemoryLedger)
        recorded = await ledger.payments.attempt(order.request_key, to_sign.number)
        if recorded is not None:
            ledger.store.attempts[recorded.attempt_id].signed = signed
            return summary_of(recorded, self._max_settled_sends)
        session_id = ready.session.key.session_id
        result = await ledger.payments.record_attempt(order.request_key, to_sign.number, session_id, signed)
        return summary_of(result, self._max_settled_sends) if isinstance(result, RecordedAttempt) else result

    return [(SignStep, "sign", sign)]


def pays_again_when_paid_content_does_not_come() -> list[Swap]:
    def step(payment: Payment) -> Step:
        last = payment.last
        if last is not None and isinstance(last.outcome, Settled) and not payment.delivered and last.number < 3:
            return Sign(number=last.number + 1)
        return next_step(payment)

    def with_attempt(self: Payment, number: int, _: int | None = None) -> Payment:
        from autopay.domain.payment.payment import Attempt  # noqa: PLC0415

        return self.model_copy(update={"attempts": (*self.attempts, Attempt(number=number))})

    return [
        (payment_run, "next_step", step),
        (Payment, "with_attempt", with_attempt),
        (MemoryPayments, "require_next", lambda *_: None),
    ]


def drops_claims() -> list[Swap]:
    def forget(row: AttemptEntry, receipt: Receipt | None) -> None:
        return None

    return [(MemoryPayments, "keep_claim", staticmethod(forget))]


def fails_the_request_when_signing_fails() -> list[Swap]:
    async def fetch_parse_sign(self: PaymentRun, number: int) -> None:
        offer = await self._fetch_and_parse()
        if offer is None:
            return
        try:
            signed = await self.steps.sign(SignInput(order=self.order, number=number, offer=offer))
        except StepFailed as failed:
            self._end(RequestStatus.FAILED, failed.type, failed.message)
            return
        if isinstance(signed, Refused):
            self._end(RequestStatus.REFUSED, signed.reason, signed.message)
            return
        assert isinstance(signed, SignedAttempt)
        self.signed, self.payment = signed, self.payment.with_attempt(number)

    async def believes_itself(self: PaymentRun, result: RequestResult) -> bool:
        return True

    return [(PaymentRun, "_fetch_parse_sign", fetch_parse_sign), (PaymentRun, "_ledger_agrees", believes_itself)]


def ends_without_asking_the_ledger() -> list[Swap]:
    async def believes_itself(self: PaymentRun, result: RequestResult) -> bool:
        return True

    return [(PaymentRun, "_ledger_agrees", believes_itself)]


def hears_no_cancel_while_the_seller_is_asked() -> list[Swap]:
    offer = PaymentRun._fetch_and_parse

    async def deaf(self: PaymentRun) -> Any:
        found = await offer(self)
        self.canceled = False
        return found

    return [(PaymentRun, "_fetch_and_parse", deaf)]


def calls_paid_and_undelivered_failed() -> list[Swap]:
    finish = PaymentRun._finish

    def failed(self: PaymentRun, done: Any) -> None:
        if done.result == "undelivered":
            self._end(RequestStatus.FAILED, "seller_rejected", "nothing came")
        else:
            finish(self, done)

    return [(PaymentRun, "_finish", failed)]


def counts_all_sends_together() -> list[Swap]:
    """What settles when the sends before it are used up is not asked for."""
    recall = LogStep.recall

    async def forgetful(self: LogStep, order: PaymentOrder) -> RecallResult:
        recalled = await recall(self, order)
        return recalled.model_copy(update={"payment": recalled.payment.model_copy(update={"max_settled_sends": 0})})

    return [(LogStep, "recall", forgetful)]


def counts_sends_that_never_left() -> list[Swap]:
    async def count_it(self: PaymentRun) -> None:
        self.payment = self.payment.with_answer(NoAnswer(reason="ledger_unavailable"))

    return [(PaymentRun, "_recall_sends", count_it)]


BUGS: dict[str, Bug] = {
    each.__name__: each
    for each in (
        *BUGS_IN_LOOKING,
        signs_again_after_a_time_out,
        takes_a_402_for_unpaid,
        takes_success_false_for_unpaid,
        takes_a_server_error_for_unpaid,
        releases_the_reservation_of_an_unknown_payment,
        takes_a_yes_to_other_terms,
        takes_any_decision,
        takes_being_woken_for_a_yes,
        asks_a_person_when_it_is_too_late,
        counts_only_settled_money_against_the_day,
        ends_a_request_again,
        sends_before_recording,
        signs_anew_when_asked_again,
        pays_again_when_paid_content_does_not_come,
        drops_claims,
        fails_the_request_when_signing_fails,
        ends_without_asking_the_ledger,
        hears_no_cancel_while_the_seller_is_asked,
        calls_paid_and_undelivered_failed,
        counts_all_sends_together,
        counts_sends_that_never_left,
    )
}
