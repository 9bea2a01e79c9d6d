"""Runs workflows so that a query in the middle of a local activity does them no harm.

A query that comes with a workflow task is answered while the task's local activities run. The SDK's core then completes
the task with the result of the local activity, and tells the workflow of it in the *next* task only, together with what
that one brings: a signal, an update, a timer. The SDK lets signals and updates go first, so the workflow acts in this
order: signal, local activity. A replay has no queries, and tells of the local activity in the task that it ran in, so
the order is: local activity, signal. The commands differ, and the workflow fails its task for ever. Seen with
temporalio 1.35.0; `tests/workflow/test_queries.py` shows it with and without this module.

Here the results of local activities come first, as they do in a replay. A workflow that ends with them is told of
nothing else, which a replay would not do either.
"""

from typing import Any

from temporalio.bridge.proto.workflow_activation import WorkflowActivation, WorkflowActivationJob
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.converter import SerializationContext, StorageDriverStoreContext
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails, WorkflowRunner
from temporalio.workflow import Info

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


class LocalResultsFirst(WorkflowRunner):
    """Runs workflows with another runner, and tells them of local activities before anything else."""

    def __init__(self, runner: WorkflowRunner) -> None:
        self._runner = runner

    def prepare_workflow(self, defn: Any) -> None:
        """As that runner does."""
        self._runner.prepare_workflow(defn)

    def set_worker_level_failure_exception_types(self, types: Any) -> None:
        """As that runner does."""
        self._runner.set_worker_level_failure_exception_types(types)

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """That runner's instance, with the jobs of each activation in our order."""
        return _Instance(self._runner.create_instance(det))


class _Instance(WorkflowInstance):
    def __init__(self, instance: WorkflowInstance) -> None:
        self._instance = instance

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        first = [job for job in act.jobs if _comes_first(job)]
        if len(first) == len(act.jobs) or not any(_is_local(job) for job in first):
            return self._instance.activate(act)
        done = self._instance.activate(_with_jobs(act, first))
        if not done.HasField("successful"):
            return done
        others = [job for job in act.jobs if not _comes_first(job)]
        if any(command.WhichOneof("variant") in ENDS for command in done.successful.commands):
            others = [job for job in others if job.HasField("query_workflow")]
        if not others:
            return done
        rest = self._instance.activate(_with_jobs(act, others))
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
    is_canceled = job.resolve_activity.result.HasField("cancelled") if job.HasField("resolve_activity") else False
    return _is_local(job) or is_canceled or job.WhichOneof("variant") in BEFORE_ALL


def _is_local(job: WorkflowActivationJob) -> bool:
    return job.HasField("resolve_activity") and job.resolve_activity.is_local


def _with_jobs(act: WorkflowActivation, jobs: list[WorkflowActivationJob]) -> WorkflowActivation:
    part = WorkflowActivation()
    part.CopyFrom(act)
    del part.jobs[:]
    part.jobs.extend(jobs)
    return part
