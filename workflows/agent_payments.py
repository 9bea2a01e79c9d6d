"""How an agent records a request in the ledger, starts its payment, and cancels it; the loop in agent.py says when."""

import asyncio
from collections.abc import Callable

from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from activities.agent_steps import AgentSteps
    from autopay.domain.agent.state import DurableState
    from autopay.domain.agent.steps import Enqueued, EnqueueInput, QueuedRequest, Withdrawn
    from autopay.domain.hosts import host_of
    from autopay.domain.payment.steps import PaymentOrder
    from autopay.domain.refusal import Refused
    from autopay.domain.request import (
        CLOSED,
        RequestResult,
        RequestSpec,
        RequestStatus,
        payment_workflow_id,
        x402_request_id,
    )
    from autopay.temporal.attributes import request_attributes
    from autopay.temporal.outcome import result_in

from workflows import policies
from workflows.durable_steps import named_faults
from workflows.paid_request import PaidRequest


class AgentPayments:
    """The requests of one agent and their `PaidRequest` workflows; `wake` makes the agent's loop decide again."""

    def __init__(self, state: DurableState, wake: Callable[[], None]) -> None:
        self._state = state
        self._wake = wake
        self._running: set[str] = set()

    @property
    def any_running(self) -> bool:
        """Whether a payment that this run has started has not ended."""
        return bool(self._running)

    async def enqueue(self, spec: RequestSpec) -> Enqueued | Refused:
        """Record the request: then it waits, or it is answered from what the agent has. Raises StepFailed."""
        state, now = self._state, workflow.now()
        request = QueuedRequest(
            request_id=spec.request_id,
            url=spec.url,
            method=spec.method,
            score=state.score(spec, now),
            queued_at=now,
            watch=spec.watch,
            max_price_atomic=spec.max_price_atomic,
            currency=spec.currency,
            body_hash=spec.body_hash,
        )
        to_enqueue = EnqueueInput(
            agent=state.spec.name,
            spec=spec,
            score=request.score,
            queue_limit=state.spec.rules.queue_limit,
            fresh_since=state.fresh_since(spec, now),
        )
        with named_faults():
            outcome = await workflow.execute_local_activity_method(
                AgentSteps.enqueue,
                to_enqueue,
                start_to_close_timeout=policies.LEDGER_STEP,
                retry_policy=policies.AGENT_RETRIES,
                summary=f"enqueue {spec.request_id}, score {request.score:g}",
            )
        if isinstance(outcome, Refused):
            return outcome
        if outcome.status == RequestStatus.FRESH and outcome.content_at is not None:
            state.record_fresh_answer(request, outcome.content_at)
        elif outcome.status not in CLOSED:
            state.queue.add(request)
        own = state.watch_named(spec.watch)
        if own is not None and outcome.status != RequestStatus.FRESH:
            state.schedule.record_request(own, now)
        self._wake()
        return outcome

    async def cancel_requested(self) -> None:
        """Cancel each request that a signal named; one that still waits is started as canceled, to be recorded."""
        name, queue = self._state.spec.name, self._state.queue
        while queue.cancels:
            request_id = queue.cancels[0]
            waiting = queue.begin_now(request_id)
            if waiting is not None:
                await self.start(waiting, canceled=True)
            try:
                await workflow.get_external_workflow_handle(payment_workflow_id(name, request_id)).cancel()
            except ApplicationError as gone:
                workflow.logger.info("nothing to cancel for %s: %s", request_id, gone.message)
            queue.cancels.remove(request_id)

    async def withdraw(self, questions: list[Withdrawn]) -> None:
        """Tell payments that wait for a person that they need none any more."""
        for question in questions:
            self._state.queue.end_hold(question.request_id)
            workflow_id = payment_workflow_id(self._state.spec.name, question.request_id)
            try:
                await workflow.get_external_workflow_handle(workflow_id).signal("withdraw", str(question.approval_id))
            except ApplicationError as gone:
                workflow.logger.info("nobody waits in %s: %s", workflow_id, gone.message)

    def close_questions(self) -> None:
        """A stopping agent asks nobody any more: its loop cancels what waits for a person."""
        questions = self._state.queue.questions()
        if self._state.stopping and questions and workflow.patched("stop-closes-questions"):
            for request_id in questions:
                self._state.queue.add_cancel(request_id)
                self._state.queue.end_hold(request_id)

    async def start(self, request: QueuedRequest, *, canceled: bool = False, breaker: str | None = None) -> None:
        """Start the payment, unless it already runs. One that has ended has sent its notice, or is in the ledger."""
        name = self._state.spec.name
        order = PaymentOrder(
            agent=name,
            request_id=request.request_id,
            request_key=x402_request_id(name, request.request_id),
            url=request.url,
            method=request.method,
            canceled=canceled,
            breaker=breaker,
        )
        try:
            payment = await workflow.start_child_workflow(
                PaidRequest.run,
                order,
                id=payment_workflow_id(name, request.request_id),
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                # A run that has ended must not be in the way: a restored ledger may not know its end, and a new run
                # of a request that the ledger does know sends its notice again.
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                search_attributes=request_attributes(order),
                static_summary=f"{request.method} {host_of(request.url)} for {name}",
                static_details=f"`{request.method} {request.url}`",
            )
        except WorkflowAlreadyStartedError:
            workflow.logger.info("%s has already been started", order.request_id)
        else:
            self._running.add(order.request_id)
            payment.add_done_callback(lambda ended: self._payment_ended(order.request_id, ended))

    def _payment_ended(self, request_id: str, ended: "asyncio.Task[RequestResult]") -> None:
        """Its result comes by its notice. A payment that was terminated sends none: it is adopted, and goes on."""
        self._running.discard(request_id)
        self._wake()
        if ended.cancelled() or (ended.exception() is not None and result_in(ended.exception()) is None):
            workflow.logger.warning("the workflow of %s ended badly; it will be adopted", request_id)
