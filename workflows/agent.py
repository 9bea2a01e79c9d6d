"""`Agent`: decides what to buy next, for months. Makes no payment itself: each is a `PaidRequest` of its own.

One loop over `AgentMemory`, the pure state: enqueue what is due, start what may start, wait for a message or the
next moment. Payments are children that outlive the agent (ABANDON) and tell it by signal how they ended; a new run
reads what waits and what is open from the ledger, so that continuing as new loses nothing.
"""

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, FailureError, WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from activities.agent_steps import AgentSteps, queued_request
    from autopay.domain.agent import Accepted, AgentSpec, AgentState, AgentStatus, Notice, Phase, Rules, Watch, host_of
    from autopay.domain.agent_memory import AgentMemory
    from autopay.domain.offer import Reason, Refused
    from autopay.domain.request import CLOSED, RequestResult, RequestSpec, payment_workflow_id, x402_request_id
    from autopay.domain.steps import BalanceQuery, InFlight, PayOrder, QueuedRequest, ToEnqueue

from workflows import policies
from workflows.agent_page import page
from workflows.attributes import STATE, request_attributes
from workflows.paid_request import PaidRequest


@workflow.defn(name="Agent")
class Agent:
    """A long-running agent. Start with an `AgentSpec`; a continued run also gets its `AgentMemory`."""

    @workflow.run
    async def run(self, spec: AgentSpec, memory: AgentMemory | None = None) -> AgentStatus:  # noqa: ARG002
        await self._recover()
        while not self.memory.is_finished():
            await self._read_balances()
            await self._catch_up()
            await self._enqueue_due_watches()
            await self._start_what_may_start()
            self._show()
            if self._should_continue_as_new():
                await workflow.wait_condition(workflow.all_handlers_finished)
                workflow.continue_as_new(args=[self.memory.spec, self.memory])
            await self._wait()
        self.over = True
        await workflow.wait_condition(workflow.all_handlers_finished)
        self._show()
        return self.memory.status(workflow.now(), over=True)

    @workflow.init
    def __init__(self, spec: AgentSpec, memory: AgentMemory | None = None) -> None:
        self.memory = memory or AgentMemory(spec=spec)
        self.over = False
        self.news = True
        self.shown: str | None = None
        self.is_recovered = False
        self.ended_meanwhile: set[str] = set()

    # The loop's parts

    async def _recover(self) -> None:
        backlog = await workflow.execute_local_activity_method(
            AgentSteps.recover,
            self.memory.spec,
            start_to_close_timeout=policies.LEDGER_STEP,
            retry_policy=policies.LEDGER_RETRIES,
            summary="what the ledger holds for this agent",
        )
        still_open = [request for request in backlog.open if request.request_id not in self.ended_meanwhile]
        self.memory.recovered(backlog.queue, still_open)
        for request in still_open:
            await self._start(request)
        self.is_recovered = True

    async def _read_balances(self) -> None:
        now = workflow.now()
        if self.memory.next_balance is not None and now < self.memory.next_balance:
            return
        spec = self.memory.spec
        query = BalanceQuery(
            agent=spec.name,
            currencies=spec.currencies,
            thresholds=spec.rules.thresholds,
            paused=self.memory.short is not None,
        )
        try:
            spendable = await workflow.execute_local_activity_method(
                AgentSteps.balances,
                query,
                start_to_close_timeout=policies.VERIFY_STEP,
                retry_policy=policies.VERIFY_RETRIES,
                summary=f"read balances: {', '.join(spec.currencies)}",
            )
        except FailureError as error:
            self.memory.next_balance = now + timedelta(seconds=spec.rules.balance_every_s)
            workflow.logger.warning("balances unreadable: %s", error)
        else:
            self.memory.balances(spendable, now)

    async def _catch_up(self) -> None:
        """Ask the ledger, now and then, about what is in flight: a notice can be lost with a restored server."""
        now = workflow.now()
        if not self.memory.wants_to_catch_up(now):
            return
        ended = await workflow.execute_local_activity_method(
            AgentSteps.ended_among,
            InFlight(agent=self.memory.spec.name, request_ids=tuple(self.memory.in_flight)),
            start_to_close_timeout=policies.LEDGER_STEP,
            retry_policy=policies.LEDGER_RETRIES,
            summary=f"how {len(self.memory.in_flight)} requests in flight stand",
        )
        for notice in ended:
            if notice.request_id in self.memory.in_flight:
                self.memory.noticed(notice)

    async def _enqueue_due_watches(self) -> None:
        now = workflow.now()
        for watch, overdue_s in self.memory.due_watches(now):
            self.memory.scheduled(watch, now)
            refused = await self._enqueue(watch.spec(now), self.memory.score(watch, overdue_s))
            if refused is not None:
                workflow.logger.warning("watch %s not enqueued: %s", watch.name, refused.message)

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

    async def _start_what_may_start(self) -> None:
        while (request := self.memory.take()) is not None:
            await self._start(request)

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
        """A payment tells us itself how it ended; only one that was terminated or has a bug does not."""
        if ended.cancelled() or ended.exception() is not None:
            self.memory.drop(request_id)
            self.news = True

    def _should_continue_as_new(self) -> bool:
        info = workflow.info()
        return info.is_continue_as_new_suggested() or info.is_target_worker_deployment_version_changed()

    async def _wait(self) -> None:
        now = workflow.now()
        wake = self.memory.next_wake(now)
        self.news = False
        try:
            await workflow.wait_condition(
                lambda: self.news,
                timeout=max(wake - now, timedelta(milliseconds=50)),
                timeout_summary=f"until {wake:%H:%M:%S} or a message",
            )
        except TimeoutError:
            return

    def _show(self) -> None:
        state = (AgentState.STOPPED if self.over else self.memory.state).value
        if state != self.shown:
            workflow.upsert_search_attributes([STATE.value_set(state)])
            self.shown = state
        workflow.set_current_details(page(self.memory.status(workflow.now(), over=self.over)))

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
