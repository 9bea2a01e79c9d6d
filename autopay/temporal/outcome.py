"""How a workflow tells what became of a request: `PaidRequest` and `Redeliver` end with a `RequestResult`.

With content (delivered, free, fresh) the workflow completes, and the result is its value. Without content (refused,
failed, undelivered) it fails, and the result is in the details of that failure: Temporal's lists show the execution's
status, and its filters find it. Nothing is retried for it, and nothing is wrong with the worker: the failure is benign.
"""

from typing import Any

from pydantic import ValidationError
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory, ChildWorkflowError

from autopay.domain.request import WITHOUT_CONTENT, RequestResult

ENDS_AS_FAILED = "without-content-ends-as-failed"
"""The patch since which a workflow without content fails; before, every one completed."""


def failure_of(result: RequestResult) -> ApplicationError | None:
    """What the workflow of a request without content fails with; None when it has content.

    Temporal keeps the type, a stable name, in clear. Message and details are sealed.
    """
    if result.status not in WITHOUT_CONTENT:
        return None
    name, message = result.status.value, f"the request has ended as {result.status.value}"
    if result.error is not None:
        name, message = result.error.type, result.error.message or message
    return ApplicationError(message, result, type=name, non_retryable=True, category=ApplicationErrorCategory.BENIGN)


def result_in(failure: BaseException | None) -> RequestResult | None:
    """The result that a failed workflow ended with; None when it failed for another reason and has none."""
    cause = failure.cause if isinstance(failure, WorkflowFailureError | ChildWorkflowError) else failure
    if not isinstance(cause, ApplicationError) or len(cause.details) != 1:
        return None
    try:
        return RequestResult.model_validate(cause.details[0])  # a plain dict, as details are read without their type
    except ValidationError:
        return None


async def outcome_of(handle: WorkflowHandle[Any, RequestResult]) -> RequestResult:
    """Wait for the end of a request's workflow; its result, however it ended.

    Raises:
        WorkflowFailureError: it failed without a result, or was terminated.
        RPCError: Temporal does not answer.
    """
    try:
        return await handle.result()
    except WorkflowFailureError as failed:
        if (result := result_in(failed)) is None:
            raise
        return result
