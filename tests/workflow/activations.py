"""Activations as the SDK's core sends them, and a runner that notes them: for tests of our own runner."""

from collections.abc import Sequence
from typing import Any

from temporalio.bridge.proto.activity_result import ActivityResolution, Cancellation, Success
from temporalio.bridge.proto.workflow_activation import WorkflowActivation, WorkflowActivationJob
from temporalio.bridge.proto.workflow_commands import WorkflowCommand
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion


class Recorded:
    """A runner and instance that only notes jobs and second of each activation, and answers each with a command."""

    def __init__(self) -> None:
        self.told: list[list[str]] = []
        self.times: list[int] = []

    def create_instance(self, _: Any) -> "Recorded":
        return self

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        self.told.append([str(job.WhichOneof("variant")) for job in act.jobs])
        self.times.append(act.timestamp.seconds)
        completion = WorkflowActivationCompletion(run_id=act.run_id)
        completion.successful.commands.append(WorkflowCommand())
        completion.successful.commands[0].start_timer.seq = len(self.told)
        return completion


def job(kind: str, *, local: bool = False, canceled: bool = False) -> WorkflowActivationJob:
    found = WorkflowActivationJob()
    getattr(found, kind).SetInParent()
    if kind == "resolve_activity":
        found.resolve_activity.is_local = local
        result = ActivityResolution(cancelled=Cancellation()) if canceled else ActivityResolution(completed=Success())
        found.resolve_activity.result.CopyFrom(result)
    return found


def command(kind: str, **values: Any) -> WorkflowCommand:
    found = WorkflowCommand()
    variant = getattr(found, kind)
    variant.SetInParent()
    for name, value in values.items():
        setattr(variant, name, value)
    return found


class Answering(Recorded):
    """Answers its activations with these commands, one list after the other."""

    def __init__(self, *answers: Sequence[WorkflowCommand]) -> None:
        super().__init__()
        self._answers = list(answers)

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        completion = super().activate(act)
        del completion.successful.commands[:]
        completion.successful.SetInParent()
        completion.successful.commands.extend(self._answers.pop(0))
        return completion
