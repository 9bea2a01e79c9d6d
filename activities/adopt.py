"""Gives open requests their workflow back, and asks for what is owed: safe at any time and any number of times."""

from datetime import timedelta

from temporalio import activity
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from autopay.domain.hosts import host_of
from autopay.domain.payment.adoption import MAX_ASKS, Adopted, AdoptFrom, UnfinishedRequests
from autopay.domain.payment.steps import PaymentOrder
from autopay.domain.request import payment_workflow_id
from autopay.temporal.attributes import request_attributes
from autopay.temporal.redelivery import start_redelivery


class AdoptStep:
    """Starts `PaidRequest` for what the ledger has open; Temporal itself sees to it that there is one of each."""

    def __init__(self, requests: UnfinishedRequests, ask_for: timedelta) -> None:
        self._requests = requests
        self._ask_for = ask_for

    @activity.defn(name="adopt")
    async def adopt(self, batch: AdoptFrom) -> Adopted:
        """One batch; a request that ended meanwhile is started for nothing: it finds its end in the ledger."""
        rows = await self._requests.unfinished(
            older_than_s=batch.order.older_than_s, after=batch.after, limit=batch.order.batch
        )
        client, task_queue = activity.client(), activity.info().task_queue
        started = [row.order.request_key for row in rows if await _start(client, task_queue, row.order)]
        if started:
            activity.logger.warning("adopted %d requests whose workflow was gone: %s", len(started), started)
        owed = await self._requests.owed(ask_for=self._ask_for, limit=MAX_ASKS)
        asked = [ref.order.request_key for ref in owed if await start_redelivery(client, task_queue, ref) is not None]
        full = len(rows) == batch.order.batch
        return Adopted(
            open_requests=len(rows),
            started=tuple(started),
            asked=tuple(asked),
            next_after=rows[-1].row_id if rows and full else None,
        )


async def _start(client: Client, task_queue: str, order: PaymentOrder) -> bool:
    """Whether it had to be started; one that runs is left alone."""
    try:
        await client.start_workflow(
            "PaidRequest",
            order,
            id=payment_workflow_id(order.agent, order.request_id),
            task_queue=task_queue,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,  # as USE_EXISTING, and it tells which it was
            search_attributes=request_attributes(order),
            static_summary=f"{order.method} {host_of(order.url)} for {order.agent}, adopted",
            static_details=f"`{order.method} {order.url}`",
        )
    except WorkflowAlreadyStartedError:
        return False
    return True
