"""Starts `WebhookEndpoint`: one workflow for each endpoint, by the command that makes it and by each worker."""

from collections.abc import Iterable
from uuid import UUID

from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy

from autopay.domain.webhooks.records import WebhookOrder


def webhook_workflow_id(endpoint_id: UUID) -> str:
    """The id of the workflow that sends to that endpoint."""
    return f"webhook/{endpoint_id}"


async def start_webhooks(
    client: Client, task_queue: str, endpoint_ids: Iterable[UUID], *, rounds: int | None = None
) -> None:
    """See that each of these endpoints has its workflow; one that runs goes on, also if it was about to end.

    Raises:
        RPCError: Temporal does not answer.
    """
    for endpoint_id in endpoint_ids:
        order = WebhookOrder(endpoint_id=endpoint_id)
        await client.start_workflow(
            "WebhookEndpoint",
            order if rounds is None else order.model_copy(update={"rounds": rounds}),
            id=webhook_workflow_id(endpoint_id),
            task_queue=task_queue,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            start_signal="begin",
            static_summary="send the ledger's events to an endpoint",
        )
