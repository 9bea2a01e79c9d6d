"""What happens to a message that a workflow's handler cannot take: that one is refused or dropped, the rest goes on.

A signal with too many or too few arguments, or with one that cannot be read, is dropped with a log line, and noted by a
workflow that has `note_dropped`. Without this the SDK would call the handler all the same, whose error fails the
workflow's task again and again: one signal, sent by hand, would end an agent that runs for months.
"""

import inspect
from collections.abc import Sequence

from temporalio import workflow
from temporalio.exceptions import ApplicationError
from temporalio.worker import (
    HandleSignalInput,
    HandleUpdateInput,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)

with workflow.unsafe.imports_passed_through():
    from autopay.domain.unreadable import MAX_WHY_LENGTH, Unreadable

WRONG_ARGUMENTS = "wrong_arguments"
"""The stable name of why an update with too many or too few arguments is refused."""


class MessageChecks(Interceptor):
    """Checks every message before its handler gets it; each worker and replayer of these workflows has it."""

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:  # noqa: A002, ARG002 (the SDK's name)
        """See base class."""
        return _CheckedMessages


class _CheckedMessages(WorkflowInboundInterceptor):
    async def handle_signal(self, input: HandleSignalInput) -> None:  # noqa: A002
        why = _unfit(input.signal, input.args)
        if why is None:
            await self.next.handle_signal(input)
            return
        workflow.logger.warning("signal %s dropped: %s", input.signal, why)
        note = getattr(workflow.instance(), "note_dropped", None)
        if note is not None:
            note(input.signal, why)

    def handle_update_validator(self, input: HandleUpdateInput) -> None:  # noqa: A002
        why = _unfit(input.update, input.args)
        if why is not None:
            raise ApplicationError(why, type=WRONG_ARGUMENTS, non_retryable=True)
        self.next.handle_update_validator(input)


def _unfit(name: str, arguments: Sequence[object]) -> str | None:
    """Why the handler of that name cannot be called with these arguments; None if it can. Handlers are methods."""
    for argument in arguments:
        if isinstance(argument, Unreadable):
            return argument.why
    handler = getattr(workflow.instance(), name, None)
    if not callable(handler):
        return None
    try:
        inspect.signature(handler).bind(*arguments)
    except TypeError as error:
        return str(error)[:MAX_WHY_LENGTH]
    return None
