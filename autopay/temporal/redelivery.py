"""Starts `Redeliver`: the one way to ask a seller again for what was paid, by a person or by the schedule."""

from temporalio.client import Client, WorkflowHandle
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError

from autopay.domain.payment.steps import AttemptRef
from autopay.domain.request import RequestResult, RequestStatus
from autopay.temporal.attributes import AGENT, STATUS


def redelivery_id(ref: AttemptRef) -> str:
    """The id of the workflow that asks for this request's content."""
    return f"retry/{ref.order.agent}/{ref.order.request_id}"


async def start_redelivery(
    client: Client, task_queue: str, ref: AttemptRef
) -> WorkflowHandle[object, RequestResult] | None:
    """Start the workflow that asks for the content of that settled attempt; None when one is open already.

    Raises:
        RPCError: Temporal does not answer.
    """
    order = ref.order
    attributes = TypedSearchAttributes(
        [SearchAttributePair(AGENT, order.agent), SearchAttributePair(STATUS, RequestStatus.UNDELIVERED.value)]
    )
    try:
        return await client.start_workflow(
            "Redeliver",
            ref,
            id=redelivery_id(ref),
            task_queue=task_queue,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            search_attributes=attributes,
            static_summary=f"ask again for {order.request_id} of {order.agent}, without paying",
            result_type=RequestResult,
        )
    except WorkflowAlreadyStartedError:
        return None
