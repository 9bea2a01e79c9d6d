"""`Redeliver`: asks a seller once more for what was paid and not delivered, with the recorded bytes. Never pays.

Identical bytes transfer at most once, and those of a settled payment have; nothing is signed here.
"""

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from autopay.domain.payment.payment import NoAnswer
    from autopay.domain.payment.steps import PAYMENT_RELEASE, AttemptRef, StepFailed
    from autopay.domain.request import RequestResult
    from autopay.temporal.attributes import STATUS
    from autopay.temporal.outcome import ENDS_AS_FAILED, failure_of

from workflows.durable_steps import DurableSteps


@workflow.defn(name="Redeliver")
class Redeliver:
    """One more submit of a settled attempt; ends as the request stands then: see outcome.py."""

    @workflow.run
    async def run(self, ref: AttemptRef) -> RequestResult:
        """The content, when it comes, is stored by the submit step as always."""
        steps = DurableSteps(ref.order, PAYMENT_RELEASE)
        summary = f"submit what is paid for to {steps.host}, attempt {ref.number}"
        try:
            answer = await steps.hand_over(ref, summary)
        except StepFailed as failed:
            raise ApplicationError(failed.message, type=failed.type, non_retryable=True) from None
        recalled = await steps.recall(ref.order)
        if recalled.closed is None:
            raise ApplicationError("the request has not ended", type="request_open", non_retryable=True)
        status = None if isinstance(answer, NoAnswer) else answer.http_status
        workflow.upsert_search_attributes([STATUS.value_set(recalled.closed.status.value)])
        result = recalled.closed.model_copy(update={"http_status": status})
        failure = failure_of(result)
        if failure is not None and workflow.patched(ENDS_AS_FAILED):
            raise failure
        return result
