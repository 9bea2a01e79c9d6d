"""A payment gets any message at any await; `machine.py` has the rest of the story."""

from datetime import timedelta
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule
from temporalio.api.common.v1 import Payload
from temporalio.exceptions import ApplicationError

from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.payment.offer import Challenge, Offer
from autopay.domain.payment.payment import (
    Conflict,
    Content,
    Dead,
    NoAnswer,
    Payment,
    Rejected,
    Seen,
    SellerAnswer,
    Settled,
    Settlement,
    Unknown,
    Verdict,
)
from autopay.domain.payment.steps import (
    FetchFailed,
    FreeContent,
    LogInput,
    PaidBefore,
    PaymentOrder,
    RecallResult,
    SignedAttempt,
    SignInput,
)
from autopay.domain.policy.policy import Awaiting
from autopay.domain.refusal import RefusalReason, Refused
from autopay.domain.request import RequestResult
from tests.workflow.any_message.machine import STORIES, URL, AnyMessage, bad, faults, how_many, readable, refusals
from tests.workflow.core import Core, Pending, to_payload
from workflows.paid_request import PaidRequest

OFFER = Offer(
    version=2,
    network=Network.DEVNET,
    currency=Currency.USDC,
    mint="mint",
    amount_atomic=1_000,
    pay_to="payee",
    fee_payer="payer",
    memo=None,
    accepted_raw="{}",
)
SETTLEMENT = Settlement(signature="s", slot=1, payer="p", destination="d", mint="mint", amount_atomic=1_000)
fetched = st.sampled_from(
    [
        FreeContent(http_status=200),
        FetchFailed(type="seller_unavailable", message="no"),
        Challenge(version=2, options=()),
        Challenge(version=2, options=()),
        Refused(reason=RefusalReason.INSECURE_TRANSPORT, message="no"),
    ]
)
answers: st.SearchStrategy[SellerAnswer] = st.sampled_from(
    [
        Content(http_status=200),
        Rejected(http_status=500, reason="error", retry_after_ms=1_000),
        Rejected(http_status=402, reason="refused"),
        Conflict(),
        NoAnswer(reason="reset"),
    ]
)
verdicts: st.SearchStrategy[Verdict] = st.sampled_from(
    [
        Settled(settlement=SETTLEMENT),
        Seen(settlement=SETTLEMENT, retry_after_ms=400),
        Unknown(reason="not seen", retry_after_ms=400),
        Dead(reason="expired"),
    ]
)


def signed_attempt(number: int) -> SignedAttempt:
    """An attempt as the ledger has recorded it."""
    return SignedAttempt(
        attempt_id=UUID(int=number), number=number, currency=Currency.USDC, amount_atomic=1_000, pay_to="payee"
    )


class AnyMessageToAPayment(AnyMessage):
    """A `PaidRequest`. Its ledger keeps what was done, whether or not the workflow hears of it.

    It may fail by name, when the ledger refuses for good: then it is adopted, and goes on from the ledger.
    """

    ends = ("complete_workflow_execution", "fail_workflow_execution", "cancel_workflow_execution")
    payment = Payment()
    signed: SignedAttempt | None = None
    closed: RequestResult | None = None

    @initialize(canceled=st.booleans())
    def started(self, canceled: bool) -> None:
        order = PaymentOrder(agent="tester", request_id="r1", request_key="ap_1", url=URL, canceled=canceled)
        self.core = Core(PaidRequest, [order], workflow_id="pay/tester/r1")
        self.core.send()

    @rule(name=st.sampled_from(["approve", "deny"]), terms=st.sampled_from(["terms", "others"]), ok=readable, other=bad)
    def somebody_decides(self, name: str, terms: str, ok: bool, other: list[Payload]) -> None:
        self.core.update(name, [to_payload(terms)] if ok else other)

    @rule(which=st.sampled_from([str(UUID(int=1)), "another"]), ok=readable, other=bad)
    def a_question_is_withdrawn(self, which: str, ok: bool, other: list[Payload]) -> None:
        self.core.signal("withdraw", [to_payload(which)] if ok else other)

    @rule(name=st.sampled_from(["approve", "stop", "notice"]), other=bad)
    def a_signal_comes_that_it_does_not_know(self, name: str, other: list[Payload]) -> None:
        self.core.signal(name, other)

    @precondition(lambda self: self.waits_for("activity", "local activity"))
    @rule(data=st.data(), fault=faults)
    def a_step_is_done_and_its_answer_lost(self, data: st.DataObject, fault: str) -> None:
        pending = self.pick(data, "activity", "local activity")
        self.result_of(pending, data)
        self.core.fail(pending, ApplicationError("no", type=fault))

    def result_of(self, pending: Pending, data: st.DataObject | None) -> object:
        match pending.name:
            case "recall":
                return RecallResult(payment=self.payment, signed=self.signed, closed=self.closed)
            case "fetch":
                return data.draw(fetched) if data else FreeContent(http_status=200)
            case "parse":
                return data.draw(refusals | st.just(OFFER)) if data else OFFER
            case "sign":
                return self._signed(pending.argument(SignInput), data)
            case "submit":
                answer: SellerAnswer = data.draw(answers) if data else Content(http_status=200)
                self.payment = self.payment.with_answer(answer)
                return answer
            case "verify":
                verdict: Verdict = data.draw(verdicts) if data else Settled(settlement=SETTLEMENT)
                self.payment = self.payment.with_verdict(verdict)
                return verdict
            case "log":
                self.closed = pending.argument(LogInput).result
                return None
            case "announce":
                return None
            case "decide":
                return data.draw(refusals | st.none()) if data else None
        raise AssertionError(f"an activity that nobody plays: {pending.name}")

    def _signed(self, to_sign: SignInput, data: st.DataObject | None) -> object:
        refused = Refused(reason=RefusalReason.AMOUNT_INVALID, message="no")
        if data is None:
            return refused
        outcome = data.draw(st.sampled_from(["signed", "asked", "paid before", "refused"]), label="sign")
        if len(self.payment.attempts) == to_sign.number:  # as the ledger: the recorded one is returned
            assert self.signed is not None
            return self.signed
        match outcome:
            case "signed":
                self.payment = self.payment.with_attempt(to_sign.number)
                self.signed = signed_attempt(to_sign.number)
                return self.signed
            case "asked":
                return Awaiting(
                    approval_id=UUID(int=1),
                    terms_hash="terms",
                    why="it costs much",
                    currency=Currency.USDC,
                    amount_atomic=1_000,
                    pay_to="payee",
                    expires_at=self.core.now + timedelta(seconds=data.draw(st.sampled_from([-60, 0, 600]))),
                )
            case "paid before" if not self.payment.attempts:
                return PaidBefore(currency=Currency.USDC, amount_atomic=1_000, transaction="signature")
        return refused

    def teardown(self) -> None:
        if hasattr(self, "core"):
            self.come_to_an_end()


TestPayment = AnyMessageToAPayment.TestCase
TestPayment.settings = how_many(STORIES)
