"""`PaidRequest`: one request for paid data as a durable workflow. The order of its steps is `PaymentRun`'s, how each
is done `DurableSteps`'. A cancel never drops a payment that was signed; a person's decision comes as an update.
"""

import asyncio
from contextlib import suppress

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.decide import DecideStep
    from autopay.domain.money import price_text
    from autopay.domain.payment.run import PaymentRun
    from autopay.domain.payment.steps import PaymentOrder, StepFailed
    from autopay.domain.policy.policy import Decision
    from autopay.domain.refusal import RefusalReason
    from autopay.domain.request import RequestResult, RequestStatus
    from autopay.domain.unreadable import Unreadable
    from autopay.temporal.outcome import ENDS_AS_FAILED, failure_of

from workflows import policies
from workflows.durable_steps import DurableSteps
from workflows.releases import check_payment_release


@workflow.defn(name="PaidRequest")
class PaidRequest:
    """Pays for one request, exactly once or not at all. Returns what became of it, or fails with it: see outcome.py."""

    @workflow.run
    async def run(self, order: PaymentOrder, release: int = 0) -> RequestResult:  # noqa: ARG002
        """Shields the payment: a cancel stops new attempts, and waits for the fate of what was signed."""
        steps = self.steps
        paying = asyncio.create_task(self.payment_run.run())
        while True:
            try:
                result = await asyncio.shield(paying)
            except asyncio.CancelledError:
                if paying.done():
                    raise
                self.payment_run.canceled = True
                steps.order = steps.order.model_copy(update={"canceled": True})  # as a continued run must know
            except StepFailed as failed:
                raise ApplicationError(failed.message, type=failed.type, non_retryable=True) from None
            else:
                verified = self.payment_run.payment.is_settled and result.status == RequestStatus.DELIVERED
                status = "verified" if verified else result.status.value
                steps.show_status(status)
                await self._finish_handlers()
                failure = failure_of(result)
                if failure is not None and (release > 0 or workflow.patched(ENDS_AS_FAILED)):
                    raise failure
                return result

    @workflow.init
    def __init__(self, order: PaymentOrder, release: int = 0) -> None:
        check_payment_release(release)
        if isinstance(order, Unreadable):
            raise TypeError(f"the order cannot be read: {order.why}")  # until a worker comes that can
        if release == 0:  # one argument, which the SDK reads without its type
            order = PaymentOrder.model_validate(order).for_another_run()
        self.steps = DurableSteps(order, release)
        self.payment_run = PaymentRun(order, self.steps)

    async def _finish_handlers(self) -> None:
        """Let decisions that are being recorded end; a cancel changes nothing any more."""
        while not workflow.all_handlers_finished():
            with suppress(asyncio.CancelledError):
                await workflow.wait_condition(workflow.all_handlers_finished)

    @workflow.signal
    def withdraw(self, approval_id: str | Unreadable) -> None:
        """Nobody needs to answer this question any more: the agent may decide by itself, so it is judged again."""
        assert not isinstance(approval_id, Unreadable)  # messages.py drops it
        self.steps.withdrawn.add(approval_id)

    @workflow.update
    async def approve(self, terms_hash: str) -> None:
        """A person says yes to exactly the terms of that hash; they are paid if the seller still asks the same."""
        await self._decide(terms_hash, approve=True)

    @workflow.update
    async def deny(self, terms_hash: str) -> None:
        """A person says no; the request ends as refused."""
        await self._decide(terms_hash, approve=False)

    @approve.validator
    def _may_approve(self, terms_hash: str) -> None:
        self._require_question(terms_hash)

    @deny.validator
    def _may_deny(self, terms_hash: str) -> None:
        self._require_question(terms_hash)

    def _require_question(self, terms_hash: str) -> None:
        asked = self.steps.awaiting
        if asked is None:
            raise ApplicationError("nobody is asked about this request now", type="not_awaiting", non_retryable=True)
        if asked.terms_hash != terms_hash:
            message = f"the question is about other terms, {asked.terms_hash}: {asked.why}"
            raise ApplicationError(message, type=RefusalReason.TERMS_DIFFER.value, non_retryable=True)

    async def _decide(self, terms_hash: str, *, approve: bool) -> None:
        asked = self.steps.awaiting
        assert asked is not None
        decision = Decision(approval_id=asked.approval_id, terms_hash=terms_hash, approve=approve)
        refused = await workflow.execute_local_activity_method(
            DecideStep.decide,
            decision,
            start_to_close_timeout=policies.LEDGER_STEP,
            retry_policy=policies.LEDGER_RETRIES,
            summary=f"a person {'approves' if approve else 'denies'} {price_text(asked)}",
        )
        if refused is not None:
            raise ApplicationError(refused.message, type=refused.reason.value, non_retryable=True)
        self.steps.decided = True
