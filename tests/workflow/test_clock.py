"""At what time a workflow is told of local activities: at the same one by a worker and by a replay."""

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.bridge.proto.workflow_activation import WorkflowActivation, WorkflowActivationJob
from temporalio.bridge.proto.workflow_commands import WorkflowCommand

from autopay.domain.agent.steps import AGENT_RELEASE
from autopay.temporal.runner import ReplayableRunner
from tests.workflow.activations import Answering, command, job

BEGIN, SIGNAL, TIMER, UPDATE = map(job, ("initialize_workflow", "signal_workflow", "fire_timer", "do_update"))
LOCAL = job("resolve_activity", local=True)
PATCH = command("set_patch_marker", patch_id=AGENT_RELEASE)
Told = tuple[int, list[WorkflowActivationJob]]


def accepted() -> WorkflowCommand:
    found = command("update_response")
    found.update_response.accepted.SetInParent()
    return found


def rejected() -> WorkflowCommand:
    found = command("update_response")
    found.update_response.rejected.SetInParent()
    return found


def times_of(*told: Told, first: WorkflowCommand = PATCH, last: WorkflowCommand | None = None) -> list[int]:
    """The seconds at which a run is told of these jobs, whose last ones it answers with that command."""
    answers = [[first], *([command("start_timer")] for _ in range(len(told) - 1)), [last or command("start_timer")]]
    inner = Answering(*answers, [command("start_timer")])
    instance = ReplayableRunner(inner).create_instance(None)  # type: ignore[arg-type]
    for second, jobs in [(1, [BEGIN]), *told]:
        instance.activate(WorkflowActivation(timestamp=Timestamp(seconds=second), jobs=jobs))
    return inner.times


def test_two_local_activities_are_told_at_one_time_together_or_one_after_the_other() -> None:
    assert times_of((10, [SIGNAL]), (11, [LOCAL]), (14, [LOCAL])) == [1, 10, 10, 10]
    assert times_of((10, [SIGNAL]), (14, [LOCAL, LOCAL])) == [1, 10, 10]


def test_one_that_is_told_a_task_later_is_told_at_the_same_time() -> None:
    assert times_of((10, [TIMER]), (11, [LOCAL])) == [1, 10, 10]
    assert times_of((10, [TIMER]), (20, [SIGNAL, LOCAL])) == [1, 10, 10, 20]


def test_an_update_moves_the_clock_when_it_is_accepted() -> None:
    assert times_of((10, [UPDATE]), last=accepted()) == [1, 10]
    for answer, then in ((accepted(), 10), (rejected(), 1)):
        inner = Answering([PATCH], [answer], [])
        instance = ReplayableRunner(inner).create_instance(None)  # type: ignore[arg-type]
        for second, jobs in ((1, [BEGIN]), (10, [UPDATE]), (12, [LOCAL])):
            instance.activate(WorkflowActivation(timestamp=Timestamp(seconds=second), jobs=jobs))
        assert inner.times == [1, 10, then]


def test_runs_of_before_have_the_time_that_core_tells() -> None:
    assert times_of((10, [SIGNAL]), (11, [LOCAL]), first=command("start_timer")) == [1, 10, 11]
