"""How the workflow of a request is started from outside of workflows: there is one of each, whoever starts it."""

from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from autopay.domain.payment.steps import PaymentOrder
from autopay.domain.request import payment_workflow_id
from autopay.domain.text.hosts import host_of
from autopay.temporal.attributes import request_attributes


async def start_payment(
    client: Client, task_queue: str, order: PaymentOrder, *, summary_end: str = "", eagerly: bool = False
) -> bool:
    """Whether it had to be started; one that runs is left alone, one that has ended runs again.

    A run that has ended must not be in the way: a restored ledger may not know its end, and a new run of a request that
    the ledger does know sends its notice again. `eagerly`: its first step runs in this process, if a worker is here.

    Raises:
        RPCError: Temporal does not answer, or refuses.
    """
    try:
        await client.start_workflow(
            "PaidRequest",
            order,
            id=payment_workflow_id(order.agent, order.request_id),
            task_queue=task_queue,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,  # as USE_EXISTING, and it tells which it was
            search_attributes=request_attributes(order),
            static_summary=f"{order.method} {host_of(order.url)} for {order.agent}{summary_end}",
            static_details=f"`{order.method} {order.url}`",
            request_eager_start=eagerly,
        )
    except WorkflowAlreadyStartedError:
        return False
    return True
