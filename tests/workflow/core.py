"""Plays Temporal's part towards one workflow, in this process: the SDK's own workflow instance, without a server.

What the SDK's core does between server and workflow is done here: it hands over what has happened (`Core.send`), takes
the commands that come back, and keeps what is pending until the test decides how each step ends. So a test can let any
message come at any await, in milliseconds. Payloads are opened by the real codec and converter.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.failure.v1 import Failure
from temporalio.bridge.proto.activity_result.activity_result_pb2 import ActivityResolution
from temporalio.bridge.proto.child_workflow.child_workflow_pb2 import (
    START_CHILD_WORKFLOW_EXECUTION_FAILED_CAUSE_WORKFLOW_ALREADY_EXISTS as ALREADY_EXISTS,
)
from temporalio.bridge.proto.workflow_activation.workflow_activation_pb2 import (
    WorkflowActivation,
    WorkflowActivationJob,
)
from temporalio.bridge.proto.workflow_commands.workflow_commands_pb2 import WorkflowCommand
from temporalio.bridge.proto.workflow_completion.workflow_completion_pb2 import WorkflowActivationCompletion
from temporalio.bridge.worker import decode_activation
from temporalio.common import TypedSearchAttributes
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError, RetryState
from temporalio.worker import UnsandboxedWorkflowRunner, WorkflowInstance, WorkflowInstanceDetails

from autopay.adapters.vault import Keyring
from autopay.temporal.converter import data_converter
from autopay.temporal.runner import ReplayableRunner
from workflows.messages import MessageChecks

KEYRING = Keyring({0: bytes(32), 1: b"histories of tests are no secret"})
START = datetime(2026, 1, 1, tzinfo=UTC)

CONVERTER = data_converter(KEYRING)
WAITS_FOR = {
    "start_timer": "timer",
    "schedule_activity": "activity",
    "schedule_local_activity": "local activity",
    "start_child_workflow_execution": "child start",
    "signal_external_workflow_execution": "external signal",
    "request_cancel_external_workflow_execution": "external cancel",
}
"""Commands after which the workflow waits for something, and for what."""

ENDS = ("complete_workflow_execution", "fail_workflow_execution", "cancel_workflow_execution")

_LOOP = asyncio.new_event_loop()


WITHOUT_ANSWER = ("upsert_workflow_search_attributes", "modify_workflow_properties", "set_patch_marker")
"""Commands that nothing comes back for."""


class TaskFailed(AssertionError):
    """The workflow failed its task: on a server it would be tried again for ever, and answer nothing."""


def to_payload(value: object) -> Payload:
    """As the codec hands it to the workflow."""
    (payload,) = CONVERTER.payload_converter.to_payloads([value])
    return payload


def to_failure(error: BaseException) -> Failure:
    """As the codec hands it to the workflow."""
    failure = Failure()
    CONVERTER.failure_converter.to_failure(error, CONVERTER.payload_converter, failure)
    return failure


@dataclass
class Pending:
    """Something that the workflow waits for; `due` is when a timer fires, `canceled` that its end is wanted."""

    kind: str
    seq: int
    command: Any
    due: datetime | None = None
    canceled: bool = False

    @property
    def name(self) -> str:
        """The activity's or workflow's type."""
        return str(getattr(self.command, "activity_type", "") or getattr(self.command, "workflow_type", ""))

    def argument(self, kind: type[Any]) -> Any:
        """What the activity was given."""
        (value,) = CONVERTER.payload_converter.from_payloads(list(self.command.arguments), [kind])
        return value


@dataclass
class Core:
    """One workflow and its runs. `ended` is the last command: completed, failed or canceled."""

    kind: type[Any]
    arguments: Sequence[object]
    workflow_id: str = "agent/tester"
    now: datetime = START
    pending: dict[tuple[str, int], Pending] = field(default_factory=dict)
    ended: WorkflowCommand | None = None
    runs: int = 0
    suggest_new_run: bool = False
    updates: dict[str, str] = field(default_factory=dict)
    _instance: WorkflowInstance | None = None
    _jobs: list[WorkflowActivationJob] = field(default_factory=list)
    _count: int = 0

    def __post_init__(self) -> None:
        self._begin([to_payload(value) for value in self.arguments])

    def step(self, name: str) -> Pending:
        """The one step of that name that the workflow waits for."""
        (found,) = (each for each in self.pending.values() if each.name == name)
        return found

    # What happens

    def signal(self, name: str, payloads: Sequence[Payload]) -> None:
        """A signal comes with the next activation."""
        job = WorkflowActivationJob()
        self._count += 1
        job.signal_workflow.signal_name, job.signal_workflow.originating_event_id = name, self._count
        job.signal_workflow.input.extend(payloads)
        self._jobs.append(job)

    def update(self, name: str, payloads: Sequence[Payload]) -> str:
        """An update comes with the next activation; `updates` tells by its id how far it got."""
        self._count += 1
        job = WorkflowActivationJob()
        job.do_update.id = job.do_update.protocol_instance_id = f"update-{self._count}"
        job.do_update.name, job.do_update.run_validator = name, True
        job.do_update.input.extend(payloads)
        self._jobs.append(job)
        self.updates[job.do_update.id] = "sent"
        return job.do_update.id

    def cancel(self) -> None:
        """Somebody cancels the workflow."""
        job = WorkflowActivationJob()
        job.cancel_workflow.reason = "canceled"
        self._jobs.append(job)

    def succeed(self, pending: Pending, result: object = None) -> None:
        """The activity ends well."""
        resolution = ActivityResolution()
        resolution.completed.result.CopyFrom(to_payload(result))
        self._resolve(pending, resolution)

    def fail(self, pending: Pending, error: ApplicationError) -> None:
        """The activity is given up."""
        resolution = ActivityResolution()
        cause: BaseException = error
        if pending.kind == "activity":
            cause = ActivityError(
                "Activity task failed",
                scheduled_event_id=1,
                started_event_id=2,
                identity="",
                activity_type=pending.name,
                activity_id="1",
                retry_state=RetryState.MAXIMUM_ATTEMPTS_REACHED,
            )
            cause.__cause__ = error
        resolution.failed.failure.CopyFrom(to_failure(cause))
        self._resolve(pending, resolution)

    def end_canceled(self, pending: Pending) -> None:
        """The activity ends as canceled, as the workflow wished."""
        resolution = ActivityResolution()
        resolution.cancelled.failure.CopyFrom(to_failure(CancelledError("canceled")))
        self._resolve(pending, resolution)

    def back_off(self, pending: Pending, wait: timedelta) -> None:
        """The local activity is to be tried again after a timer."""
        resolution = ActivityResolution()
        resolution.backoff.attempt = 2
        resolution.backoff.backoff_duration.FromTimedelta(wait)
        resolution.backoff.original_schedule_time.FromDatetime(self.now)
        self._resolve(pending, resolution)

    def start_child(self, pending: Pending, *, known: bool = False) -> None:
        """The child workflow has started, or `known`: one of its id runs already."""
        job = WorkflowActivationJob()
        start = job.resolve_child_workflow_execution_start
        start.seq = pending.seq
        if known:
            start.failed.workflow_id, start.failed.workflow_type = "pay/tester/x", "PaidRequest"
            start.failed.cause = ALREADY_EXISTS
            del self.pending[pending.kind, pending.seq]
        else:
            start.succeeded.run_id = "run"
            self._move(pending, "child")
        self._jobs.append(job)

    def reach(self, pending: Pending, *, gone: bool = False) -> None:
        """A signal to, or a cancel of, another workflow has arrived, or that one is gone."""
        job = WorkflowActivationJob()
        signal = pending.kind == "external signal"
        end = job.resolve_signal_external_workflow if signal else job.resolve_request_cancel_external_workflow
        end.seq = pending.seq
        if gone:
            end.failure.CopyFrom(to_failure(ApplicationError("not found", type="NotFound")))
        del self.pending[pending.kind, pending.seq]
        self._jobs.append(job)

    def pass_time(self, passed: timedelta) -> None:
        """Time passes; the timers that are due fire, in their order."""
        self.now += passed
        due = [each for each in self.pending.values() if each.due is not None and each.due <= self.now]
        for timer in sorted(due, key=lambda each: each.due or self.now):
            job = WorkflowActivationJob()
            job.fire_timer.seq = timer.seq
            del self.pending[timer.kind, timer.seq]
            self._jobs.append(job)

    # Towards the workflow

    def send(self) -> None:
        """Hand over all that has happened, and take the commands.

        Raises:
            TaskFailed: the workflow cannot go on.
        """
        if self.ended is not None or not self._jobs:
            self._jobs.clear()
            return
        jobs, self._jobs = self._jobs, []
        # As the core does: what resolves is handed over before what begins anew.
        self._take(self._activate(jobs))

    def query(self, name: str, payloads: Sequence[Payload] = ()) -> Payload | None:
        """The answer, None when it is an error.

        Raises:
            TaskFailed: it does not answer at all.
        """
        job = WorkflowActivationJob()
        job.query_workflow.query_id, job.query_workflow.query_type = "query", name
        job.query_workflow.arguments.extend(payloads)
        completion = self._activate([job])
        (command,) = completion.successful.commands
        answer = command.respond_to_query
        return answer.succeeded.response if answer.HasField("succeeded") else None

    def _activate(self, jobs: Sequence[WorkflowActivationJob]) -> WorkflowActivationCompletion:
        activation = WorkflowActivation(run_id=f"run-{self.runs}", history_length=10, jobs=jobs)
        activation.timestamp.FromDatetime(self.now)
        activation.continue_as_new_suggested = self.suggest_new_run
        instance = _LOOP.run_until_complete(self._prepare(activation))
        completion = instance.activate(activation)
        if completion.HasField("failed"):
            raise TaskFailed(_text_of(completion.failed.failure))
        return completion

    async def _prepare(self, activation: WorkflowActivation) -> WorkflowInstance:
        """Open the payloads as a worker does; the run's instance."""
        await decode_activation(activation, CONVERTER, decode_headers=False, storage_concurrency_limit=1)
        if self._instance is None:
            self._instance = ReplayableRunner(UnsandboxedWorkflowRunner()).create_instance(self._details())
        return self._instance

    def _begin(self, arguments: Sequence[Payload]) -> None:
        self.runs += 1
        self._instance, self.pending = None, {}
        job = WorkflowActivationJob()
        start = job.initialize_workflow
        start.workflow_type, start.workflow_id = self.kind.__name__, self.workflow_id
        start.arguments.extend(arguments)
        start.start_time.FromDatetime(self.now)
        self._jobs.insert(0, job)

    def _take(self, completion: WorkflowActivationCompletion) -> None:
        for command in completion.successful.commands:
            kind = str(command.WhichOneof("variant"))
            body = getattr(command, kind)
            if kind in WAITS_FOR:
                due = self.now + body.start_to_fire_timeout.ToTimedelta() if kind == "start_timer" else None
                self._add(WAITS_FOR[kind], body, due)
            elif kind in ENDS:
                self.ended = command
            elif kind == "cancel_timer":
                self.pending.pop(("timer", body.seq), None)
            elif kind in ("request_cancel_activity", "request_cancel_local_activity"):
                for waits_for in ("activity", "local activity"):
                    if (waits_for, body.seq) in self.pending:
                        self.pending[waits_for, body.seq].canceled = True
            elif kind == "update_response":
                self.updates[body.protocol_instance_id] = str(body.WhichOneof("response"))
            elif kind == "continue_as_new_workflow_execution":
                self.suggest_new_run = False
                self._begin(body.arguments)
                self.send()
            else:
                assert kind in WITHOUT_ANSWER, kind

    def _add(self, kind: str, command: Any, due: datetime | None = None) -> None:
        self.pending[kind, command.seq] = Pending(kind, command.seq, command, due)

    def _move(self, pending: Pending, kind: str) -> None:
        del self.pending[pending.kind, pending.seq]
        self.pending[kind, pending.seq] = Pending(kind, pending.seq, pending.command)

    def _resolve(self, pending: Pending, resolution: ActivityResolution) -> None:
        job = WorkflowActivationJob()
        job.resolve_activity.seq, job.resolve_activity.is_local = pending.seq, pending.kind == "local activity"
        job.resolve_activity.result.CopyFrom(resolution)
        del self.pending[pending.kind, pending.seq]
        self._jobs.append(job)

    def _details(self) -> WorkflowInstanceDetails:
        interceptor = MessageChecks().workflow_interceptor_class(None)  # type: ignore[arg-type]
        definition = workflow._Definition.must_from_class(self.kind)
        info = workflow.Info(
            attempt=1,
            continued_run_id=None,
            cron_schedule=None,
            execution_timeout=None,
            first_execution_run_id="run-1",
            headers={},
            namespace="default",
            original_execution_run_id=f"run-{self.runs}",
            parent=None,
            root=None,
            priority=workflow.Priority() if hasattr(workflow, "Priority") else None,  # type: ignore[arg-type]
            raw_memo={},
            retry_policy=None,
            run_id=f"run-{self.runs}",
            run_timeout=None,
            search_attributes={},
            start_time=self.now,
            workflow_start_time=self.now,
            task_queue="autopay",
            task_timeout=timedelta(seconds=10),
            typed_search_attributes=TypedSearchAttributes.empty,
            workflow_id=self.workflow_id,
            workflow_type=self.kind.__name__,
        )
        return WorkflowInstanceDetails(
            payload_converter_factory=CONVERTER._new_payload_converter,
            failure_converter_class=CONVERTER.failure_converter_class,
            interceptor_classes=[interceptor],
            defn=definition,
            info=info,
            randomness_seed=1,
            extern_functions={"__temporal_assert_local_activity_valid": lambda name: None},
            disable_eager_activity_execution=False,
            worker_level_failure_exception_types=[],
            patch_activation_callback=None,
            last_completion_result=Payloads(),
            last_failure=None,
        )


def _text_of(failure: Failure) -> str:
    error = CONVERTER.failure_converter.from_failure(failure, CONVERTER.payload_converter)
    stack = getattr(getattr(error, "failure", None), "stack_trace", "")
    cause = f"; {error.__cause__}" if error.__cause__ is not None else ""
    return f"{error}{cause}\n{stack}"
