"""`Upkeep`: one run of a duty of the ledger's upkeep, by its schedule. A run that found something wrong has failed."""

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.upkeep import UpkeepStep
    from autopay.domain.upkeep import UpkeepOrder, UpkeepResult

from workflows import policies

FOUND_WRONG = "upkeep_failed"
"""The type of the failure of a run whose check did not come out well."""


@workflow.defn(name="Upkeep")
class Upkeep:
    """One activity, on the queue that the workflow itself is on."""

    @workflow.run
    async def run(self, order: UpkeepOrder) -> UpkeepResult:
        """What came of it; fails when a check found a difference."""
        result = await workflow.execute_activity_method(
            UpkeepStep.upkeep,
            order,
            start_to_close_timeout=policies.UPKEEP_STEP,
            heartbeat_timeout=policies.UPKEEP_HEARTBEAT,
            retry_policy=policies.UPKEEP_RETRIES,
            summary=f"what `ledger {order.duty}` does",
        )
        workflow.set_current_details(result.summary)
        if not result.ok:
            raise ApplicationError(result.summary, type=FOUND_WRONG, non_retryable=True)
        return result
