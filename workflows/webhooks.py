"""`WebhookEndpoint`: sends one endpoint the ledger's events, for as long as it is there.

All that lasts is in the ledger: the workflow begins the activity again whenever it ends, and itself anew before its
history grows.
"""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.webhooks import WebhookStep
    from autopay.domain.webhooks.records import WebhookOrder

from workflows import policies


@workflow.defn(name="WebhookEndpoint")
class WebhookEndpoint:
    """Ends when the endpoint is disabled or removed."""

    def __init__(self) -> None:
        self._was_begun_again = False

    @workflow.signal(name="begin")
    def begin(self) -> None:
        """Look whether there is something to send, even if the endpoint was just found disabled: it is enabled now."""
        self._was_begun_again = True

    @workflow.run
    async def run(self, order: WebhookOrder) -> int:
        """How many messages this run delivered."""
        delivered = rounds = 0
        while True:
            self._was_begun_again = False
            done = await workflow.execute_activity_method(
                WebhookStep.deliver_webhooks,
                order,
                task_queue=workflow.info().task_queue + policies.WAITS,
                start_to_close_timeout=policies.WEBHOOK_STEP,
                heartbeat_timeout=policies.WEBHOOK_HEARTBEAT,
                retry_policy=policies.WEBHOOK_RETRIES,
                summary="send events as they come",
            )
            delivered, rounds = delivered + done.delivered, rounds + 1
            workflow.set_current_details(f"{delivered} delivered in this run, {done.failed} failures in the last round")
            if done.ended and not self._was_begun_again:
                return delivered
            info = workflow.info()
            if (
                rounds >= order.rounds
                or info.is_continue_as_new_suggested()
                or info.is_target_worker_deployment_version_changed()
            ):
                newest = workflow.ContinueAsNewVersioningBehavior.AUTO_UPGRADE
                workflow.continue_as_new(order, initial_versioning_behavior=newest)
