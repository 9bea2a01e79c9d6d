"""Runs workflows so that a replay does what the worker did, where the SDK does not see to it (temporalio 1.35.0).

A history from which a replay does something else ends a workflow for good: each of its tasks fails from then on.

**Local results come first.** A query that comes with a workflow task is answered while the task's local activities run.
The SDK's core then completes the task with the result of the local activity, and tells the workflow of it in the *next*
task only, together with what that one brings: a signal, an update, a timer. The SDK lets signals and updates go first,
so the workflow acts in this order: signal, local activity. A replay has no queries, and tells of the local activity in
the task that it ran in, so the order is: local activity, signal. Here the results of local activities come first, as
they do in a replay. A workflow that ends with them is told of nothing else, which a replay would not do either.

**No task is empty.** A task that leaves no event behind it, such as that of a signal which changes nothing yet, looks
in a history like the heartbeat of a long local activity. A worker that takes the workflow over, because another one was
killed, lets it do that task together with the next one, at the next one's time; so does every replay, until the next
task has accepted an update: from then on they are two tasks, at their own times. A workflow whose deadline passes
between the two does different things. Here such a task leaves an event: a memo that is set to nothing. Only runs that
have the patch `AGENT_RELEASE` do so, as the runs before it did not.

**Local results do not move the clock.** Core tells of each local activity at the time when it ended. Two that outlast
the task that they began in, and end in the next one, are told one after the other, at two times; a replay tells of
both at once, at the later time. One that ends after a query is told at the next task's time, and in a replay at its
own. A workflow whose deadline is reckoned from such a time has another one in a replay. Here `workflow.now()` is the
time of the last task that a message, a timer or the like began; an update moves it when it is accepted. So a timer
that is reckoned after a local activity ends later by as long as that took. This, too, is for runs with the patch
`AGENT_RELEASE` alone.

`tests/workflow/test_queries.py`, `test_empty_tasks.py` and `test_clock.py` show each with and without it, on a server.
"""

from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.bridge.proto.workflow_activation import WorkflowActivation, WorkflowActivationJob
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.converter import SerializationContext, StorageDriverStoreContext
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails, WorkflowRunner
from temporalio.workflow import Info

from autopay.domain.agent.steps import AGENT_RELEASE
from autopay.temporal.codec import NULL

BEFORE_ALL = ("initialize_workflow", "notify_has_patch", "update_random_seed")
"""Jobs that the others build on."""

ENDS = frozenset(
    {
        "complete_workflow_execution",
        "fail_workflow_execution",
        "cancel_workflow_execution",
        "continue_as_new_workflow_execution",
    }
)
"""Commands that end a run."""

WITHOUT_EVENT = frozenset(
    {
        "set_patch_marker",  # it is written once only
        "schedule_local_activity",  # its result is written when it ends, perhaps tasks later
        "request_cancel_local_activity",
        "update_response",  # a refused update leaves nothing
        "respond_to_query",
    }
)
"""Commands that may leave no event at the end of their task."""

NOT_IN_HISTORY = frozenset({*BEFORE_ALL, "do_update", "query_workflow", "remove_from_cache"})
"""Jobs that no event of a history begins. An update that is accepted leaves an event anyway."""

EMPTY = "task"
"""The memo that an otherwise empty task sets to nothing; so it never has a value."""


class ReplayableRunner(WorkflowRunner):
    """Runs workflows with another runner; see above for what it sees to."""

    def __init__(self, runner: WorkflowRunner) -> None:
        self._runner = runner

    def prepare_workflow(self, defn: Any) -> None:
        """As that runner does."""
        self._runner.prepare_workflow(defn)

    def set_worker_level_failure_exception_types(self, types: Any) -> None:
        """As that runner does."""
        self._runner.set_worker_level_failure_exception_types(types)

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """That runner's instance, with the jobs of each activation in our order, and no empty task."""
        return _Instance(self._runner.create_instance(det))


class _Instance(WorkflowInstance):
    def __init__(self, instance: WorkflowInstance) -> None:
        self._instance = instance
        self._is_new = False
        self._leaves_no_task_empty = False
        self._clock: Timestamp | None = None

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        clock, is_moved = self._clock or act.timestamp, self._clock is None or _begins_in_history(act)
        done = self._activate_in_order(act, clock)
        commands = done.successful.commands
        if is_moved or any(command.update_response.HasField("accepted") for command in commands):
            self._clock = Timestamp()
            self._clock.CopyFrom(act.timestamp)
        if any(command.set_patch_marker.patch_id == AGENT_RELEASE for command in commands):
            self._is_new = self._leaves_no_task_empty = True
        if _has_end(done):  # it is still told what it canceled
            self._leaves_no_task_empty = False
        is_empty = all(command.WhichOneof("variant") in WITHOUT_EVENT for command in commands)
        if is_empty and self._leaves_no_task_empty and _begins_in_history(act) and done.HasField("successful"):
            commands.add().modify_workflow_properties.upserted_memo.fields[EMPTY].CopyFrom(NULL)
        return done

    def _activate_in_order(self, act: WorkflowActivation, clock: Timestamp) -> WorkflowActivationCompletion:
        """Tell of what comes first, at the time of `clock` in a new run; then of the rest."""
        first = [job for job in act.jobs if _comes_first(job)]
        if len(first) == len(act.jobs):
            return self._instance.activate(_with_jobs(act, first, clock) if self._is_new else act)
        if not any(_is_local(job) for job in first):
            return self._instance.activate(act)
        done = self._instance.activate(_with_jobs(act, first, clock if self._is_new else act.timestamp))
        if not done.HasField("successful"):
            return done
        others = [job for job in act.jobs if not _comes_first(job)]
        if _has_end(done):
            others = [job for job in others if job.HasField("query_workflow")]
        if not others:
            return done
        rest = self._instance.activate(_with_jobs(act, others, act.timestamp))
        if rest.HasField("successful"):
            commands = [*done.successful.commands, *rest.successful.commands]
            del rest.successful.commands[:]
            rest.successful.commands.extend(commands)
            flags = {*done.successful.used_internal_flags, *rest.successful.used_internal_flags}
            del rest.successful.used_internal_flags[:]
            rest.successful.used_internal_flags.extend(sorted(flags))
        return rest

    def get_info(self) -> Info:
        return self._instance.get_info()

    def get_thread_id(self) -> int | None:
        return self._instance.get_thread_id()

    def get_serialization_context(self, command_info: Any) -> SerializationContext | None:
        return self._instance.get_serialization_context(command_info)

    def get_external_store_context(self, command_info: Any) -> StorageDriverStoreContext:
        return self._instance.get_external_store_context(command_info)


def _comes_first(job: WorkflowActivationJob) -> bool:
    """What the others build on; local activities; and activities that were canceled, which core tells of at once."""
    return _is_told_at_once(job) or job.WhichOneof("variant") in BEFORE_ALL


def _is_told_at_once(job: WorkflowActivationJob) -> bool:
    """The result of a local activity, or of one that was canceled: an event of it comes later, or never."""
    is_canceled = job.resolve_activity.result.HasField("cancelled") if job.HasField("resolve_activity") else False
    return _is_local(job) or is_canceled


def _is_local(job: WorkflowActivationJob) -> bool:
    return job.HasField("resolve_activity") and job.resolve_activity.is_local


def _has_end(done: WorkflowActivationCompletion) -> bool:
    return any(command.WhichOneof("variant") in ENDS for command in done.successful.commands)


def _begins_in_history(act: WorkflowActivation) -> bool:
    """Whether an event of the history brought a job of it, such as a signal or a timer."""
    return any(job.WhichOneof("variant") not in NOT_IN_HISTORY and not _is_told_at_once(job) for job in act.jobs)


def _with_jobs(act: WorkflowActivation, jobs: list[WorkflowActivationJob], clock: Timestamp) -> WorkflowActivation:
    part = WorkflowActivation()
    part.CopyFrom(act)
    part.timestamp.CopyFrom(clock)
    del part.jobs[:]
    part.jobs.extend(jobs)
    return part
