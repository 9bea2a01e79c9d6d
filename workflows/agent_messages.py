"""What an agent hears and answers: its signals, updates and queries. Safe at any moment of the loop in agent.py.

A handler changes `AgentMemory` and sets `news`, which wakes the loop; those that need the queue wait until the run
has read it from the ledger.
"""

import asyncio

from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from activities.agent_steps import AgentSteps, queued_request
    from autopay.domain.agent import Accepted, AgentSpec, AgentStatus, Notice, Phase, Rules, Watch, host_of
    from autopay.domain.agent_memory import AgentMemory
    from autopay.domain.offer import Reason, Refused
    from autopay.domain.request import CLOSED, RequestResult, RequestSpec, payment_workflow_id, x402_request_id
    from autopay.domain.steps import PayOrder, QueuedRequest, ToEnqueue

from workflows import policies
from workflows.attributes import request_attributes
from workflows.paid_request import PaidRequest


class AgentMessages:
    """The half of `Agent` that others talk to, and how a request is accepted and started."""

    def __init__(self, spec: AgentSpec, memory: AgentMemory | None = None) -> None:
        self.memory = memory or AgentMemory(spec=spec)
        self.over = False
        self.news = True
        self.is_recovered = False
        self.ended_meanwhile: set[str] = set()

    # Signals

    @workflow.signal
    def pause(self, reason: str | None = None) -> None:
        """Start nothing new until `resume`; what is in flight finishes."""
        self.memory.pause = reason or "paused by signal"
        self.news = True

    @workflow.signal
    def resume(self) -> None:
        """Go on; balances are read again at once."""
        self.memory.pause, self.memory.next_balance, self.news = None, None, True

    @workflow.signal
    def check_balances(self) -> None:
        """Read the balances now: money has come in. A person's pause stays."""
        self.memory.next_balance, self.news = None, True

    @workflow.signal
    def stop(self) -> None:
        """Start nothing new, let what is in flight settle, then end. What waits stays in the ledger's queue."""
        self.memory.stopping = self.news = True

    @workflow.signal
    async def cancel(self, request_id: str) -> None:
        """Cancel one request: a waiting one never starts, one in flight pays nothing more than it has signed."""
        await workflow.wait_condition(lambda: self.is_recovered)
        name = self.memory.spec.name
        for request in [each for each in self.memory.queue if each.request_id == request_id]:
            self.memory.queue.remove(request)
            self.memory.in_flight[request_id] = request
            await self._start(request, canceled=True)
        try:
            await workflow.get_external_workflow_handle(payment_workflow_id(name, request_id)).cancel()
        except ApplicationError as gone:
            workflow.logger.info("nothing to cancel for %s: %s", request_id, gone.message)
        self.news = True

    @workflow.signal
    def notice(self, notice: Notice) -> None:
        """From a `PaidRequest`: answered, or settled."""
        if self.is_recovered and notice.request_id not in self.memory.in_flight:
            return  # counted before: the ledger was faster
        self.memory.noticed(notice)
        if notice.final and not self.is_recovered:
            self.ended_meanwhile.add(notice.request_id)
        self.memory.next_balance = None if notice.final else self.memory.next_balance
        self.news = True

    # Updates

    @workflow.update
    async def request(self, spec: RequestSpec) -> Accepted:
        """Take a request; returns on acceptance, the result comes from the ledger."""
        await workflow.wait_condition(lambda: self.is_recovered)
        refused = await self._enqueue(spec, self.memory.score(None, 0))
        if refused is not None:
            raise ApplicationError(refused.message, type=refused.reason.value, non_retryable=True)
        workflow_id = payment_workflow_id(self.memory.spec.name, spec.request_id)
        return Accepted(request_id=spec.request_id, workflow_id=workflow_id, queued=len(self.memory.queue))

    @request.validator
    def _may_request(self, spec: RequestSpec) -> None:
        if self.memory.stopping or self.over:
            raise ApplicationError("the agent is stopping", type=Reason.AGENT_STOPPED.value, non_retryable=True)
        full = len(self.memory.queue) >= self.memory.spec.rules.queue_limit
        if full and not self.memory.knows(spec.request_id):
            limit = self.memory.spec.rules.queue_limit
            raise ApplicationError(f"{limit} requests wait", type=Reason.QUEUE_FULL.value, non_retryable=True)

    @workflow.update
    def watch(self, watch: Watch) -> None:
        """Keep this data fresh from now on; replaces a watch of the same name."""
        self.memory.watch(watch, workflow.now())
        self.news = True

    @workflow.update
    def unwatch(self, name: str) -> None:
        """Stop keeping this data fresh."""
        self.memory.unwatch(name)
        self.news = True

    @unwatch.validator
    def _is_watched(self, name: str) -> None:
        if all(watch.name != name for watch in self.memory.spec.watches):
            raise ApplicationError(f"there is no watch {name!r}", type="unknown_watch", non_retryable=True)

    @workflow.update
    def rules(self, rules: Rules) -> None:
        """Change the agent's own limits."""
        self.memory.spec = self.memory.spec.model_copy(update={"rules": rules})
        self.memory.next_balance, self.news = None, True

    @workflow.update
    def phase(self, phase: Phase) -> None:
        """Change how much the agent may do without a person."""
        self.memory.spec = self.memory.spec.model_copy(update={"phase": phase})
        self.news = True

    # Queries

    @workflow.query
    def status(self) -> AgentStatus:
        """What the agent is doing, and why."""
        return self.memory.status(workflow.now(), over=self.over)

    @workflow.query
    def queue(self) -> list[QueuedRequest]:
        """What waits, next first."""
        return list(self.memory.queue)

    # What both halves do

    async def _enqueue(self, spec: RequestSpec, score: float) -> Refused | None:
        outcome = await workflow.execute_local_activity_method(
            AgentSteps.enqueue,
            ToEnqueue(
                agent=self.memory.spec.name, spec=spec, score=score, queue_limit=self.memory.spec.rules.queue_limit
            ),
            start_to_close_timeout=policies.LEDGER_STEP,
            retry_policy=policies.LEDGER_RETRIES,
            summary=f"enqueue {spec.request_id}",
        )
        if isinstance(outcome, Refused):
            return outcome
        if outcome.status not in CLOSED:
            self.memory.enqueue(queued_request(spec, score))
            self.news = True
        return None

    async def _start(self, request: QueuedRequest, *, canceled: bool = False) -> None:
        """Start the payment, or find that it already runs; one that has ended has told us, or is in the ledger."""
        name = self.memory.spec.name
        order = PayOrder(
            agent=name,
            request_id=request.request_id,
            request_key=x402_request_id(name, request.request_id),
            url=request.url,
            method=request.method,
            canceled=canceled,
        )
        try:
            payment = await workflow.start_child_workflow(
                PaidRequest.run,
                order,
                id=payment_workflow_id(name, request.request_id),
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
                search_attributes=request_attributes(order),
                static_summary=f"{request.method} {host_of(request.url)} for {name}",
                static_details=f"`{request.method} {request.url}`",
            )
        except WorkflowAlreadyStartedError:
            workflow.logger.info("%s has already been started", order.request_id)
        else:
            payment.add_done_callback(lambda ended: self._payment_ended(order.request_id, ended))

    def _payment_ended(self, request_id: str, ended: "asyncio.Task[RequestResult]") -> None:
        """A payment tells us itself how it ended. One that was terminated does not: it is adopted, and goes on."""
        if ended.cancelled() or ended.exception() is not None:
            workflow.logger.warning("the workflow of %s ended badly; it will be adopted", request_id)
