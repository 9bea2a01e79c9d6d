"""`Adopt`: every minute, by the schedule `autopay-adopt`, open requests without a workflow get theirs back.

One batch a run. Where it ended is the run's result, which Temporal hands to the next run of the schedule.
"""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.adopt import AdoptStep
    from autopay.domain.payment.adoption import Adopted, AdoptFrom, AdoptOrder

from workflows import policies


@workflow.defn(name="Adopt")
class Adopt:
    """Starts again what the ledger has open; returns how the batch went."""

    @workflow.run
    async def run(self, order: AdoptOrder) -> Adopted:
        """One batch, after the last run's."""
        last = workflow.get_last_completion_result(Adopted) if workflow.has_last_completion_result() else None
        adopted = await workflow.execute_activity_method(
            AdoptStep.adopt,
            AdoptFrom(order=order, after=last.next_after if last else None),
            start_to_close_timeout=policies.ADOPT_STEP,
            retry_policy=policies.ADOPT_RETRIES,
            summary=f"look for requests that were begun over {order.older_than_s:g} s ago and have no workflow",
        )
        found = ", ".join(f"`{key}`" for key in adopted.started) or "none"
        workflow.set_current_details(f"{adopted.open_requests} open, adopted: {found}")
        return adopted
