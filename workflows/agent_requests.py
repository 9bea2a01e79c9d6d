"""How an agent accepts a request, starts its payment, and cancels it. Which and when is decided elsewhere."""

import asyncio

from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from activities.agent_steps import AgentSteps
    from autopay.domain.agent.memory import AgentMemory
    from autopay.domain.agent.spec import AgentSpec
    from autopay.domain.agent.steps import Enqueued, QueuedRequest, ToEnqueue
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

from workflows import policies
from workflows.durable_steps import named_faults
from workflows.paid_request import PaidRequest


class AgentRequests:
    """An agent's memory, and what its loop and its handlers both do with requests."""

    def __init__(self, spec: AgentSpec, memory: AgentMemory | None = None) -> None:
        self.memory = memory or AgentMemory(spec=spec)
        self.over = False
        self.news = False
        self.is_recovered = False
        self.running: set[str] = set()
        self.phase_changes = asyncio.Lock()

    async def _enqueue(self, spec: RequestSpec) -> Enqueued | Refused:
        """Record the request; it waits then, or was answered from what the agent has. Raises StepFailed."""
        now = workflow.now()
        request = QueuedRequest(
            request_id=spec.request_id,
            url=spec.url,
            method=spec.method,
            score=self.memory.score(spec, now),
            queued_at=now,
            watch=spec.watch,
            max_price_atomic=spec.max_price_atomic,
            currency=spec.currency,
            body_hash=spec.body_hash,
        )
        to_enqueue = ToEnqueue(
            agent=self.memory.spec.name,
            spec=spec,
            score=request.score,
            queue_limit=self.memory.spec.rules.queue_limit,
            fresh_since=self.memory.fresh_since(spec, now),
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
            self.memory.found_fresh(request, outcome.content_at)
        elif outcome.status not in CLOSED:
            self.memory.enqueue(request)
        own = next((watch for watch in self.memory.spec.watches if watch.name == spec.watch), None)
        if own is not None and outcome.status != RequestStatus.FRESH:
            self.memory.watching.asked(own, now)
        self.news = True
        return outcome

    def _hear_what_came_before(self) -> None:
        """Notices that came before this run had read the ledger."""
        unheard, self.memory.unheard = self.memory.unheard, []
        for notice in unheard:
            self.memory.noticed(notice, workflow.now())

    async def _cancel_what_was_canceled(self) -> None:
        name = self.memory.spec.name
        while self.memory.cancels:
            request_id = self.memory.cancels[0]
            waiting = self.memory.pull(request_id)
            if waiting is not None:
                await self._start(waiting, canceled=True)
            try:
                await workflow.get_external_workflow_handle(payment_workflow_id(name, request_id)).cancel()
            except ApplicationError as gone:
                workflow.logger.info("nothing to cancel for %s: %s", request_id, gone.message)
            self.memory.cancels.remove(request_id)

    async def _start(self, request: QueuedRequest, *, canceled: bool = False, breaker: str | None = None) -> None:
        """Start the payment, or find that it already runs; one that has ended has told us, or is in the ledger."""
        name = self.memory.spec.name
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
                # A run that has ended is no hindrance: a restored ledger may not know its end, or tells it again.
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                search_attributes=request_attributes(order),
                static_summary=f"{request.method} {host_of(request.url)} for {name}",
                static_details=f"`{request.method} {request.url}`",
            )
        except WorkflowAlreadyStartedError:
            workflow.logger.info("%s has already been started", order.request_id)
        else:
            self.running.add(order.request_id)
            payment.add_done_callback(lambda ended: self._payment_ended(order.request_id, ended))

    def _payment_ended(self, request_id: str, ended: "asyncio.Task[RequestResult]") -> None:
        """A payment tells us itself how it ended. One that was terminated does not: it is adopted, and goes on."""
        self.running.discard(request_id)
        self.news = True
        if ended.cancelled() or ended.exception() is not None:
            workflow.logger.warning("the workflow of %s ended badly; it will be adopted", request_id)
