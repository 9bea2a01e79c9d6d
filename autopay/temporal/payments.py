"""Starts the workflow of a request from outside of workflows; at most one run of it is open, whoever starts it."""

from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from autopay.domain.payment.steps import PAYMENT_RELEASE, PaymentOrder
from autopay.domain.request import payment_workflow_id
from autopay.domain.text.hosts import host_of
from autopay.temporal.attributes import request_attributes


async def start_payment(
    client: Client, task_queue: str, order: PaymentOrder, *, summary_end: str = "", eagerly: bool = False
) -> bool:
    """Start the request's workflow; False when a run of it is open already.

    A closed run does not prevent a new one: a restored ledger may not know its end, and a new run of a request that has
    ended in the ledger only sends its notice again. `eagerly`: the first workflow task goes to this process, if it runs
    a worker.

    Raises:
        RPCError: Temporal does not answer, or refuses.
    """
    try:
        await client.start_workflow(
            "PaidRequest",
            args=[order, PAYMENT_RELEASE],
            id=payment_workflow_id(order.agent, order.request_id),
            task_queue=task_queue,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,  # unlike USE_EXISTING, it tells whether a run was open
            search_attributes=request_attributes(order),
            static_summary=f"{order.method} {host_of(order.url)} for {order.agent}{summary_end}",
            request_eager_start=eagerly,
        )
    except WorkflowAlreadyStartedError:
        return False
    return True
