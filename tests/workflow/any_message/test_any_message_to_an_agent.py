"""An agent gets any message at any await; `machine.py` has the rest of the story."""

from datetime import timedelta
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule
from temporalio.api.common.v1 import Payload

from autopay.domain.agent.spec import AgentSpec, Rules, Watch
from autopay.domain.agent.status import AgentStatus, Spendable
from autopay.domain.agent.steps import (
    Backlog,
    EnqueueBatch,
    Enqueued,
    EnqueueFailed,
    InFlightQuery,
    NotStarted,
    QueuedRequest,
    StartBatch,
    Withdrawn,
)
from autopay.domain.money import Currency
from autopay.domain.payment.notice import Notice
from autopay.domain.phase import Phase
from autopay.domain.request import RequestSpec, RequestStatus
from tests.workflow.any_message.machine import STORIES, URL, AnyMessage, bad, how_many, readable, refusals, texts
from tests.workflow.core import CONVERTER, START, Core, Pending, to_payload
from workflows.agent import Agent

NAMES = ("w1", "w2", "w3")
IDS = ("r1", "r2", "r3", "w1-20260101T000000")

ids = st.sampled_from(IDS)
names = st.sampled_from(NAMES)
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
    st.tuples(st.just("pause"), texts(500)),
    st.tuples(st.just("cancel"), ids | texts(200)),
    st.tuples(st.just("notice"), notices),
    st.tuples(st.just("notices"), st.lists(notices, max_size=4)),
)
withdrawn = st.builds(Withdrawn, request_id=ids, approval_id=st.just(UUID(int=1)))
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
            self.core.succeed(self.core.step("recover"), Backlog())
            self.core.send()
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

    def result_of(self, pending: Pending, data: st.DataObject | None) -> object:
        match pending.name:
            case "recover":
                return data.draw(backlogs()) if data else Backlog()
            case "enqueue_many" if data:
                fresh = Enqueued(status=RequestStatus.FRESH, content_of="r1", content_at=self.core.now)
                taken = st.builds(Enqueued, status=st.sampled_from(RequestStatus))
                failed = EnqueueFailed(type="data_error", message="no")
                outcomes = taken | refusals | st.just(fresh) | st.just(failed)
                return [data.draw(outcomes) for _ in pending.argument(EnqueueBatch).requests]
            case "enqueue_many":
                return [Enqueued(status=RequestStatus.WAITING) for _ in pending.argument(EnqueueBatch).requests]
            case "start_payments":
                ids = [order.request_id for order in pending.argument(StartBatch).orders]
                refused = data.draw(st.lists(st.sampled_from(ids), unique=True)) if data else []
                return [NotStarted(request_id=request_id, message="no") for request_id in refused]
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


TestAgent = AnyMessageToAnAgent.TestCase
TestAgent.settings = how_many(STORIES)
