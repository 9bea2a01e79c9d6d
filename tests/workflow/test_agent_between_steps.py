"""What comes to an agent between two of its steps, on the SDK's own instance (core.py)."""

from datetime import timedelta

from temporalio.exceptions import ApplicationError

from autopay.domain.agent.spec import AgentSpec, Watch
from autopay.domain.agent.status import AgentStatus
from autopay.domain.agent.steps import (
    Backlog,
    EnqueueBatch,
    Enqueued,
    EnqueueFailed,
    NotStarted,
    QueuedRequest,
    StartBatch,
)
from autopay.domain.payment.notice import Notice
from autopay.domain.phase import Phase
from autopay.domain.refusal import RefusalReason, Refused
from autopay.domain.request import RequestSpec, RequestStatus
from tests.workflow.core import CONVERTER, Core, to_payload
from workflows.agent import Agent
from workflows.agent_parts.wait import QUIET

URL = "https://seller.example/feed"


def launched(*watches: Watch) -> Core:
    """An agent that has begun to read its ledger."""
    core = Core(Agent, [AgentSpec(name="tester", phase=Phase.FULL, watches=watches)])
    core.send()
    return core


def begun(core: Core) -> None:
    """It has read the ledger, which has nothing, and keeps itself there."""
    done(core, "recover", Backlog())
    done(core, "save_agent", None)


def done(core: Core, name: str, result: object) -> None:
    """The step has ended."""
    core.succeed(core.step(name), result)
    core.send()


def status_of(core: Core) -> AgentStatus:
    answer = core.query("status")
    assert answer is not None
    (status,) = CONVERTER.payload_converter.from_payloads([answer], [AgentStatus])
    assert isinstance(status, AgentStatus)
    return status


W1, W2 = (Watch(name=name, url=f"{URL}?{name}", every_s=1) for name in ("w1", "w2"))


def asked(core: Core, request_id: str) -> str:
    """Somebody asks for a request; the update's id."""
    return core.update("request", [to_payload(RequestSpec(request_id=request_id, url=f"{URL}?{request_id}"))])


def recorded(core: Core) -> list[str]:
    """What the step that records requests was given, by id."""
    return [each.spec.request_id for each in core.step("enqueue_many").argument(EnqueueBatch).requests]


def started(core: Core) -> list[str]:
    """The payments that the step which starts them was given."""
    return [order.request_id for order in core.step("start_payments").argument(StartBatch).orders]


WAITING = Enqueued(status=RequestStatus.WAITING)


def busy_with_another_batch(*watches: Watch) -> Core:
    """An agent that records a request by hand while its watches have become due and wait for the next batch."""
    core = launched(*watches)
    begun(core)
    done(core, "balances", [])
    asked(core, "r1")
    core.send()
    core.pass_time(timedelta(seconds=5))
    core.send()
    return core


def test_a_watch_that_is_removed_while_a_batch_is_recorded_is_not_in_the_next() -> None:
    core = busy_with_another_batch(W1, W2)
    core.update("unwatch", [to_payload("w1")])
    core.send()
    done(core, "enqueue_many", [Enqueued(status=RequestStatus.FREE)])
    assert [request_id[:2] for request_id in recorded(core)] == ["w2"]


def test_a_watch_that_is_replaced_while_a_batch_is_recorded_is_bought_when_it_is_due() -> None:
    core = busy_with_another_batch(W1, W2)
    core.update("watch", [to_payload(W2.model_copy(update={"every_s": 3600}))])
    core.send()
    done(core, "enqueue_many", [Enqueued(status=RequestStatus.FREE)])
    assert [request_id[:2] for request_id in recorded(core)] == ["w1"]
    assert [each.watch.every_s for each in status_of(core).watches] == [1, 3600]


def test_watches_that_are_due_together_are_recorded_together() -> None:
    core = launched(W1, W2)
    begun(core)
    done(core, "balances", [])
    core.pass_time(timedelta(seconds=5))
    core.send()
    assert [request_id[:2] for request_id in recorded(core)] == ["w1", "w2"]
    refused = Refused(reason=RefusalReason.QUEUE_FULL, message="full")
    done(core, "enqueue_many", [refused, WAITING])
    assert [request_id[:2] for request_id in started(core)] == ["w2"]


def test_requests_that_come_together_are_recorded_and_started_by_one_step_each() -> None:
    core = launched()
    begun(core)
    done(core, "balances", [])
    updates = [asked(core, f"r{number}") for number in range(5)]
    core.send()
    assert recorded(core) == [f"r{number}" for number in range(5)]
    late = asked(core, "late")
    core.send()
    refused = Refused(reason=RefusalReason.TERMS_DIFFER, message="other terms")
    failed = EnqueueFailed(type="data_error", message="no")
    done(core, "enqueue_many", [WAITING, refused, WAITING, failed, Enqueued(status=RequestStatus.DELIVERED)])
    assert [core.updates[each] for each in updates] == ["completed", "rejected", "completed", "rejected", "completed"]
    assert (recorded(core), core.updates[late]) == (["late"], "accepted")
    assert started(core) == ["r0", "r2"]
    done(core, "enqueue_many", [WAITING])
    done(core, "start_payments", [])
    assert started(core) == ["late"]
    assert status_of(core).in_flight == ("r0", "r2", "late")


def test_a_batch_that_cannot_be_recorded_rejects_its_requests_and_no_later_one() -> None:
    core = launched()
    begun(core)
    done(core, "balances", [])
    first = asked(core, "r1")
    core.send()
    second = asked(core, "r2")
    core.send()
    core.fail(core.step("enqueue_many"), ApplicationError("away", type="LedgerUnavailable"))
    core.send()
    done(core, "enqueue_many", [WAITING])
    assert (core.updates[first], core.updates[second]) == ("rejected", "completed")
    assert started(core) == ["r2"]


def test_payments_that_could_not_be_started_stay_in_flight_and_are_started_later() -> None:
    core = launched()
    begun(core)
    done(core, "balances", [])
    asked(core, "r1")
    asked(core, "r2")
    core.send()
    done(core, "enqueue_many", [WAITING, WAITING])
    core.fail(core.step("start_payments"), ApplicationError("away", type="TemporalUnavailable"))
    core.send()
    assert status_of(core).in_flight == ("r1", "r2")
    assert "away" in (status_of(core).reason or "")
    core.signal("cancel", [to_payload("r1")])
    core.send()
    core.pass_time(timedelta(seconds=5))
    core.send()
    (cancel,) = (each for each in core.pending.values() if each.kind == "external cancel")
    core.reach(cancel, gone=True)
    core.send()
    orders = core.step("start_payments").argument(StartBatch).orders
    assert [(order.request_id, order.canceled) for order in orders] == [("r1", True), ("r2", False)]


def test_a_payment_that_temporal_refuses_to_start_holds_up_no_other_and_is_tried_again() -> None:
    core = launched()
    begun(core)
    done(core, "balances", [])
    asked(core, "r1")
    core.send()
    done(core, "enqueue_many", [WAITING])
    done(core, "start_payments", [NotStarted(request_id="r1", message="no")])
    asked(core, "r2")
    core.send()
    done(core, "enqueue_many", [WAITING])
    assert started(core) == ["r2"]
    done(core, "start_payments", [])
    core.pass_time(timedelta(seconds=61))
    core.send()
    done(core, "balances", [])
    done(core, "ended_among", [])
    assert started(core) == ["r1"]


def quiet(core: Core) -> None:
    """No message comes for as long as a run waits for that to continue as new."""
    core.pass_time(QUIET)
    core.send()


def test_a_run_that_is_continued_leaves_no_request_behind_that_is_being_recorded() -> None:
    core = launched()
    begun(core)
    done(core, "balances", [])
    first = asked(core, "r1")
    core.send()
    second = asked(core, "r2")
    core.suggest_new_run = True
    core.signal("resume", [])
    core.send()
    assert core.runs == 1
    done(core, "balances", [])
    done(core, "enqueue_many", [WAITING])
    done(core, "enqueue_many", [WAITING])
    assert (core.updates[first], core.updates[second]) == ("completed", "completed")
    quiet(core)
    assert core.runs == 2
    waiting = [QueuedRequest(request_id=name, url=URL, queued_at=core.now) for name in ("r1", "r2")]
    done(core, "recover", Backlog(queue=tuple(waiting)))
    assert status_of(core).queued == ("r1", "r2")


def test_what_the_run_before_has_started_is_not_started_again_and_the_rest_is() -> None:
    core = launched()
    done(core, "recover", Backlog(open=(QueuedRequest(request_id="r1", url=URL, queued_at=core.now),)))
    done(core, "save_agent", None)
    done(core, "balances", [])
    done(core, "ended_among", [])
    assert started(core) == ["r1"]
    core.suggest_new_run = True
    done(core, "start_payments", [])
    quiet(core)
    assert core.runs == 2
    still_open = [QueuedRequest(request_id=name, url=URL, queued_at=core.now) for name in ("r1", "r2")]
    done(core, "recover", Backlog(open=tuple(still_open)))
    done(core, "save_agent", None)
    done(core, "ended_among", [])
    assert started(core) == ["r2"]


def test_a_run_continues_as_new_in_a_task_that_brings_no_message() -> None:
    core = launched()
    begun(core)
    done(core, "balances", [])
    core.suggest_new_run = True
    core.signal("resume", [])
    core.send()
    done(core, "balances", [])
    for _ in range(3):
        core.signal("check_balances", [])
        quiet(core)
        assert core.runs == 1, "the server would refuse it: a message has come"
    quiet(core)
    assert core.runs == 2


def test_notices_in_one_signal_are_taken_in_their_order() -> None:
    core = launched()
    begun(core)
    done(core, "balances", [])
    asked(core, "r1")
    asked(core, "r2")
    core.send()
    done(core, "enqueue_many", [WAITING, WAITING])
    done(core, "start_payments", [])
    told = [
        Notice(request_id="r1", status=RequestStatus.WAITING, final=False, held="approval"),
        Notice(request_id="r2", status=RequestStatus.FREE, final=True),
        Notice(request_id="r1", status=RequestStatus.REFUSED, final=True),
        Notice(request_id="unknown", status=RequestStatus.FREE, final=True),
    ]
    core.signal("notices", [to_payload(told)])
    core.send()
    status = status_of(core)
    assert (status.in_flight, status.held, status.delivered, status.refused) == ((), (), 1, 1)


def test_a_message_keeps_the_timer_that_fires_early_enough() -> None:
    core = launched()
    begun(core)
    done(core, "balances", [])
    (timer,) = (each for each in core.pending.values() if each.kind == "timer")
    core.signal("pause", [to_payload("lunch")])
    core.send()
    assert [each for each in core.pending.values() if each.kind == "timer"] == [timer]


def test_a_request_for_a_watch_that_has_no_plan_yet_is_taken() -> None:
    core = launched(W1)
    begun(core)
    update = core.update("request", [to_payload(RequestSpec(request_id="r1", url=URL, watch="w1"))])
    core.send()
    done(core, "enqueue_many", [WAITING])
    assert core.updates[update] == "completed"
    assert status_of(core).queued == ("r1",)
    done(core, "balances", [])
    assert status_of(core).in_flight == ("r1",)
