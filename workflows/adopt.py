"""`Adopt`: every minute, by the schedule `autopay-adopt`, open requests without a workflow get theirs back.

One batch a run. Where it ended is the run's result, which Temporal hands to the next run of the schedule.
"""

from typing import cast

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.adopt import AdoptStep
    from autopay.domain.payment.adoption import Adopted, AdoptFrom, AdoptOrder
    from autopay.domain.unreadable import Unreadable

from workflows import policies


@workflow.defn(name="Adopt")
class Adopt:
    """Starts again what the ledger has open; returns how the batch went."""

    @workflow.run
    async def run(self, order: AdoptOrder) -> Adopted:
        """One batch, after the last run's."""
        last = _last_batch()
        adopted = await workflow.execute_activity_method(
            AdoptStep.adopt,
            AdoptFrom(order=order, after=last.next_after if last else None),
            start_to_close_timeout=policies.ADOPT_STEP,
            retry_policy=policies.ADOPT_RETRIES,
            summary=f"look for requests that were begun over {order.older_than_s:g} s ago and have no workflow",
        )
        workflow.set_current_details(
            f"{adopted.open_requests} open, adopted: {_listed(adopted.started)}; asked again for what is paid: "
            f"{_listed(adopted.asked)}"
        )
        return adopted


def _last_batch() -> Adopted | None:
    """How the last run's batch went; None before the first, and when its result cannot be read: then from the start."""
    if not workflow.has_last_completion_result():
        return None
    # The SDK's signature wants a class; it hands any type on to the converter.
    last = workflow.get_last_completion_result(cast("type[Adopted]", Adopted | Unreadable))
    if isinstance(last, Unreadable):
        workflow.logger.warning("the result of the last run cannot be read: %s", last.why)
        return None
    return last


def _listed(request_keys: tuple[str, ...]) -> str:
    return ", ".join(f"`{key}`" for key in request_keys) or "none"
