"""Any message, at any await, with steps that are slow, fail or are canceled: the workflows answer, and come to an end.

The workflows are the real ones, on the SDK's own instance (core.py). A workflow that fails its task is frozen on a
server, and fails the test. `AUTOPAY_MESSAGES` says how many stories of each are tried (`make messages`).
"""

import os
from datetime import timedelta
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from temporalio.api.common.v1 import Payload
from temporalio.exceptions import ApplicationError

from autopay.domain.agent.spec import AgentSpec, Rules, Watch
from autopay.domain.agent.status import AgentStatus, Spendable
from autopay.domain.agent.steps import Backlog, Enqueued, InFlightQuery, QueuedRequest, Withdrawn
from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.payment.notice import Notice
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
from autopay.domain.phase import Phase
from autopay.domain.policy.policy import Awaiting
from autopay.domain.refusal import RefusalReason, Refused
from autopay.domain.request import RequestResult, RequestSpec, RequestStatus
from tests.workflow.core import CONVERTER, START, Core, Pending, to_payload
from tests.workflow.messages import UNREADABLE
from workflows.agent import Agent
from workflows.paid_request import PaidRequest

STORIES = int(os.environ.get("AUTOPAY_MESSAGES", "20"))
STEPS = 50

URL = "https://seller.example/feed"
NAMES = ("w1", "w2", "w3")
IDS = ("r1", "r2", "r3", "w1-20260101T000000")

ids = st.sampled_from(IDS)
names = st.sampled_from(NAMES)
readable = st.booleans() | st.just(True) | st.just(True)
bad = st.sampled_from(list(UNREADABLE.values()))
faults = st.sampled_from(["LedgerUnavailable", "ChainUnavailable", "UnknownAgent", "AttributeError", "Strange"])
watches = st.builds(
    Watch,
    name=names,
    url=st.sampled_from([URL, URL + "?2"]),
    every_s=st.sampled_from([1, 60, 3600]),
    currency=st.sampled_from([None, Currency.USDC]),
)
rules = st.builds(
    Rules,
    thresholds=st.sampled_from([{}, {Currency.USDC: 2_000}, {Currency.USDC: 10**18}]),
    max_in_flight=st.integers(1, 3),
    queue_limit=st.integers(1, 4),
    demo_payments=st.integers(1, 3),
    balance_every_s=st.sampled_from([1, 60]),
    buy_what_fits=st.booleans(),
)
specs = st.builds(
    RequestSpec,
    request_id=ids,
    url=st.sampled_from([URL, URL + "?2"]),
    watch=st.none() | names,
    max_age_s=st.sampled_from([None, 0, 60]),
    currency=st.sampled_from([None, Currency.USDC]),
)
queued = st.builds(
    QueuedRequest,
    request_id=ids,
    url=st.just(URL),
    queued_at=st.just(START),
    watch=st.none() | names,
    score=st.floats(0, 9),
)
notices = st.builds(
    Notice,
    request_id=ids,
    status=st.sampled_from(RequestStatus),
    final=st.booleans(),
    held=st.sampled_from([None, "approval", "chain"]),
    error=st.sampled_from([None, "chain_unavailable", "seller_unavailable"]),
    currency=st.sampled_from([None, Currency.USDC]),
    amount_atomic=st.sampled_from([0, 1_000, 2**64 - 1]),
    transaction=st.sampled_from([None, "signature"]),
    message=st.sampled_from([None, "a | b\n<c>"]),
)
updates = st.one_of(
    st.tuples(st.just("request"), specs),
    st.tuples(st.just("watch"), watches),
    st.tuples(st.just("unwatch"), names),
    st.tuples(st.just("rules"), rules),
    st.tuples(st.just("phase"), st.sampled_from(Phase)),
)
signals = st.one_of(
    st.tuples(st.just("pause"), st.text(max_size=500)),
    st.tuples(st.just("cancel"), ids | st.text(max_size=200)),
    st.tuples(st.just("notice"), notices),
)
withdrawn = st.builds(Withdrawn, request_id=ids, approval_id=st.just(UUID(int=1)))
refusals = st.builds(Refused, reason=st.sampled_from(RefusalReason), message=st.text(max_size=9))
spendables = st.builds(
    Spendable,
    currency=st.just(Currency.USDC),
    balance_atomic=st.just(5_000),
    spendable_atomic=st.sampled_from([0, 1_500, 5_000]),
    limit=st.sampled_from(["balance", "allowance", "session_budget", "none"]),
    session_problem=st.sampled_from([None, "no session"]),
    account=st.sampled_from([None, "account"]),
)


def backlogs() -> st.SearchStrategy[Backlog]:
    """What the ledger holds: each request waits, is open, or is unknown to it."""

    def split(requests: list[QueuedRequest], parts: int, asked: bool) -> Backlog:
        is_open = tuple(each for at, each in enumerate(requests) if parts >> at & 1)
        waiting = tuple(each for at, each in enumerate(requests) if not parts >> at & 1)
        return Backlog(queue=waiting, open=is_open, asked={each.request_id: START for each in is_open if asked})

    unique = st.lists(queued, max_size=3, unique_by=lambda each: each.request_id)
    return st.builds(split, unique, st.integers(0, 7), st.booleans())


class AnyMessage(RuleBasedStateMachine):
    """What both workflows live through: their steps end in any way, time passes, and messages come."""

    core: Core
    ends: tuple[str, ...] = ("complete_workflow_execution",)
    together = 0

    def result_of(self, pending: Pending, data: st.DataObject | None) -> object:
        """What a step that goes well returns; without `data` the result that lets the workflow end."""
        raise NotImplementedError

    def pick(self, data: st.DataObject, *kinds: str) -> Pending:
        """Something that the workflow waits for."""
        waiting = [each for each in self.core.pending.values() if each.kind in kinds]
        return data.draw(st.sampled_from(waiting), label="which")

    def waits_for(self, *kinds: str) -> bool:
        return self.core.ended is None and any(each.kind in kinds for each in self.core.pending.values())

    @rule(things=st.integers(1, 3))
    def things_happen_together(self, things: int) -> None:
        """The next ones reach the workflow in one activation."""
        self.together = things

    @precondition(lambda self: self.waits_for("activity", "local activity"))
    @rule(data=st.data())
    def a_step_goes_well(self, data: st.DataObject) -> None:
        pending = self.pick(data, "activity", "local activity")
        self.core.succeed(pending, self.result_of(pending, data))

    @precondition(lambda self: self.waits_for("activity", "local activity"))
    @rule(data=st.data(), fault=faults)
    def a_step_fails(self, data: st.DataObject, fault: str) -> None:
        pending = self.pick(data, "activity", "local activity")
        if pending.canceled and data.draw(st.booleans(), label="canceled"):
            self.core.end_canceled(pending)
        elif pending.kind == "local activity" and data.draw(st.booleans(), label="backs off"):
            self.core.back_off(pending, timedelta(seconds=1))
        else:
            self.core.fail(pending, ApplicationError("no", type=fault))

    @precondition(lambda self: self.waits_for("external signal", "external cancel"))
    @rule(data=st.data(), gone=st.booleans())
    def another_workflow_is_reached(self, data: st.DataObject, gone: bool) -> None:
        self.core.reach(self.pick(data, "external signal", "external cancel"), gone=gone)

    @rule(seconds=st.sampled_from([0.2, 1, 5, 61, 4000]))
    def time_passes(self, seconds: float) -> None:
        self.core.pass_time(timedelta(seconds=seconds))

    @rule(of=st.integers(0, 9))
    def somebody_cancels_the_workflow(self, of: int) -> None:
        if of == 0:
            self.core.cancel()

    @rule()
    def the_history_is_long(self) -> None:
        self.core.suggest_new_run = True

    @invariant()
    def it_answers(self) -> None:
        if self.together > 0:
            self.together -= 1
            return
        self.core.send()
        if self.core.ended is None:
            self.check_answer()

    def check_answer(self) -> None:
        assert self.core.query("__stack_trace") is not None

    def come_to_an_end(self) -> None:
        """Everything goes well from now on."""
        self.together = 0
        for _ in range(300):
            self.core.send()
            if self.core.ended is not None:
                break
            self.it_answers()
            for pending in list(self.core.pending.values()):
                match pending.kind:
                    case "activity" | "local activity":
                        if pending.canceled:
                            self.core.end_canceled(pending)
                        elif pending.name != "wait_for_top_up":
                            self.core.succeed(pending, self.result_of(pending, None))
                    case "child start":
                        self.core.start_child(pending)
                    case "external signal" | "external cancel":
                        self.core.reach(pending)
            self.core.pass_time(timedelta(seconds=61))
        assert self.core.ended is not None, f"it does not end: {list(self.core.pending.values())}"
        assert self.core.ended.WhichOneof("variant") in self.ends, self.core.ended


class AnyMessageToAnAgent(AnyMessage):
    """An `Agent`, whose ledger answers anything, and which others tell anything."""

    @initialize(
        found=st.lists(watches, max_size=3, unique_by=lambda each: each.name), limits=rules, recovered=st.booleans()
    )
    def launched(self, found: list[Watch], limits: Rules, recovered: bool) -> None:
        spec = AgentSpec(name="tester", phase=Phase.FULL, watches=tuple(found), rules=limits)
        self.core = Core(Agent, [spec])
        self.core.send()
        if recovered:
            done(self.core, "recover", Backlog())
            self.core.pass_time(timedelta(seconds=5))

    @rule(message=signals, ok=readable, other=bad, plain=st.sampled_from(["resume", "check_balances", None]))
    def a_signal_comes(self, message: tuple[str, object], ok: bool, other: list[Payload], plain: str | None) -> None:
        name, value = message
        if plain is not None and ok:
            self.core.signal(plain, [])
        else:
            self.core.signal(name, [to_payload(value)] if ok else other)

    @rule(message=updates, ok=readable, other=bad)
    def an_update_comes(self, message: tuple[str, object], ok: bool, other: list[Payload]) -> None:
        name, value = message
        self.core.update(name, [to_payload(value)] if ok else other)

    @rule(of=st.integers(0, 9))
    def it_is_told_to_stop(self, of: int) -> None:
        if of == 0:
            self.core.signal("stop", [])

    @precondition(lambda self: self.waits_for("child start"))
    @rule(data=st.data(), known=st.booleans())
    def a_payment_starts(self, data: st.DataObject, known: bool) -> None:
        self.core.start_child(self.pick(data, "child start"), known=known)

    @precondition(lambda self: self.waits_for("child"))
    @rule(data=st.data(), failed=st.booleans())
    def a_payment_ends(self, data: st.DataObject, failed: bool) -> None:
        result = RequestResult(request_id="r1", status=RequestStatus.FREE, workflow_id="pay/tester/r1")
        failure = ApplicationError("no", type="Strange") if failed else None
        self.core.end_child(self.pick(data, "child"), result, failure)

    def result_of(self, pending: Pending, data: st.DataObject | None) -> object:
        match pending.name:
            case "recover":
                return data.draw(backlogs()) if data else Backlog()
            case "enqueue" if data:
                fresh = Enqueued(status=RequestStatus.FRESH, content_of="r1", content_at=self.core.now)
                taken = st.builds(Enqueued, status=st.sampled_from(RequestStatus))
                return data.draw(taken | refusals | st.just(fresh))
            case "enqueue":
                return Enqueued(status=RequestStatus.WAITING)
            case "ended_among" if data:
                return data.draw(st.lists(notices, max_size=3))
            case "ended_among":
                asked: InFlightQuery = pending.argument(InFlightQuery)
                return [Notice(request_id=key, status=RequestStatus.FREE, final=True) for key in asked.request_ids]
            case "balances":
                return data.draw(st.lists(spendables, min_size=1, max_size=1)) if data else []
            case "wait_for_top_up":
                return data.draw(st.booleans()) if data else True
            case "change_phase":
                return data.draw(st.lists(withdrawn, max_size=2)) if data else []
            case "save_agent":
                return None
        raise AssertionError(f"an activity that nobody plays: {pending.name}")

    def check_answer(self) -> None:
        answer = self.core.query("status")
        assert answer is not None
        (status,) = CONVERTER.payload_converter.from_payloads([answer], [AgentStatus])
        assert status.name == "tester"

    def teardown(self) -> None:
        if not hasattr(self, "core"):
            return
        self.core.signal("stop", [])
        self.come_to_an_end()


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


def launched(*watches: Watch) -> Core:
    """An agent that has begun to read its ledger."""
    core = Core(Agent, [AgentSpec(name="tester", phase=Phase.FULL, watches=watches)])
    core.send()
    return core


def step(core: Core, name: str) -> Pending:
    """The step that the workflow waits for."""
    (found,) = (each for each in core.pending.values() if each.name == name)
    return found


def begun(core: Core) -> None:
    """It has read the ledger, which has nothing, and keeps itself there."""
    done(core, "recover", Backlog())
    done(core, "save_agent", None)


def done(core: Core, name: str, result: object) -> None:
    """The step has ended."""
    core.succeed(step(core, name), result)
    core.send()


def status_of(core: Core) -> AgentStatus:
    answer = core.query("status")
    assert answer is not None
    (status,) = CONVERTER.payload_converter.from_payloads([answer], [AgentStatus])
    assert isinstance(status, AgentStatus)
    return status


W1, W2 = (Watch(name=name, url=f"{URL}?{name}", every_s=1) for name in ("w1", "w2"))


def test_a_watch_that_is_removed_while_another_is_enqueued_is_not_enqueued() -> None:
    core = launched(W1, W2)
    begun(core)
    done(core, "balances", [])
    core.pass_time(timedelta(seconds=5))
    core.send()
    for name in ("w1", "w2"):
        core.update("unwatch", [to_payload(name)])
    core.send()
    done(core, "enqueue", Enqueued(status=RequestStatus.FREE))
    done(core, "save_agent", None)
    assert [each.name for each in core.pending.values() if each.name] == []
    assert status_of(core).watches == ()


def test_a_watch_that_is_replaced_while_another_is_enqueued_is_bought_when_it_is_due() -> None:
    core = launched(W1, W2)
    begun(core)
    done(core, "balances", [])
    core.pass_time(timedelta(seconds=5))
    core.send()
    core.update("watch", [to_payload(W2.model_copy(update={"every_s": 3600}))])
    core.send()
    done(core, "enqueue", Enqueued(status=RequestStatus.FREE))
    done(core, "save_agent", None)
    assert [each.name for each in core.pending.values() if each.name] == []
    assert [each.watch.every_s for each in status_of(core).watches] == [1, 3600]


def test_a_request_for_a_watch_that_has_no_plan_yet_is_taken() -> None:
    core = launched(W1)
    begun(core)
    asked = core.update("request", [to_payload(RequestSpec(request_id="r1", url=URL, watch="w1"))])
    core.send()
    done(core, "enqueue", Enqueued(status=RequestStatus.WAITING))
    assert core.updates[asked] == "completed"
    assert status_of(core).queued == ("r1",)
    done(core, "balances", [])
    assert status_of(core).in_flight == ("r1",)


def how_many(stories: int) -> Any:
    """Settings for so many stories."""
    return settings(
        max_examples=stories,
        stateful_step_count=STEPS,
        deadline=None,
        derandomize="AUTOPAY_MESSAGES" not in os.environ,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )


TestAgent = AnyMessageToAnAgent.TestCase
TestAgent.settings = how_many(STORIES)

TestPayment = AnyMessageToAPayment.TestCase
TestPayment.settings = how_many(STORIES)
