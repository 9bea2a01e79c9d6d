"""How an agent starts payments and cancels them; the loop in agent.py says when.

All that begins in one turn is started by one local step, through the client: the agent's history has one event for all
of them. How a payment ends comes as a notice, or is found in the ledger.

| crash | what follows |
|---|---|
| before all are started | the activity runs again, and leaves alone what runs already |
| after it, before its marker | as above; what runs although the turn now decides otherwise is in flight by its notice |
| the step is given up | what it was to start stays in flight, and is tried again with the agent's own back-off |
| the agent is gone before it tries again | the ledger has the request as waiting: the next run takes it from there |
| a payment's workflow is gone | the adopting schedule starts it again; before it has begun in the ledger, the agent's
minutely look at what is in flight does |

A request that is canceled before its start is started as canceled: it pays nothing, and records its end.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from itertools import islice

from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from activities.start_payments import StartPayments
    from autopay.domain.agent.state.durable_state import DurableState
    from autopay.domain.agent.steps import QueuedRequest, StartBatch, Withdrawn
    from autopay.domain.payment.steps import PaymentOrder
    from autopay.domain.request import RequestResult, RequestSpec, payment_workflow_id, x402_request_id
    from autopay.domain.text.hosts import host_of
    from autopay.temporal.attributes import request_attributes
    from autopay.temporal.outcome import result_in

from workflows import policies
from workflows.durable_steps import named_faults
from workflows.paid_request import PaidRequest
from workflows.releases import is_new_agent

CLOSES_QUESTIONS = "stop-closes-questions"
"""A patch for runs of 0.2.0 that are stopped now: they cancel what waits for a person."""

MAX_BATCH = 200


class AgentPayments:
    """The requests of one agent and their `PaidRequest` workflows; `wake` makes the agent's loop decide again."""

    def __init__(self, state: DurableState, wake: Callable[[], None]) -> None:
        self._state = state
        self._wake = wake
        self._running: set[str] = set()
        self._to_start: dict[str, PaymentOrder] = {}
        self._refused: dict[str, PaymentOrder] = {}
        self._accepted: dict[str, RequestSpec] = {}
        self._closed: set[str] = set()

    def note_accepted(self, spec: RequestSpec) -> None:
        """The ledger has just recorded this request: its first run need not read it from there.

        One with headers or a body is read there: they are sent only where the ledger says.
        """
        if spec.sealed_extras is None:
            self._accepted[spec.request_id] = spec

    @property
    def any_running(self) -> bool:
        """Whether a payment holds a slot; in runs that start children, whether one has not ended."""
        return bool(self._running) or (self._state.queue.any_with_slot() and is_new_agent())

    async def start_next(self) -> None:
        """Start all that may start now, together. Raises StepFailed: they stay in flight, and are started later."""
        state = self._state
        if not state.queue.waiting and not self._to_start:
            return
        if not is_new_agent():
            while (begun := state.begin_next(workflow.now())) is not None:
                request, breaker = begun
                await self.start(request, breaker=breaker)
            return
        for request, breaker in state.begin_all(workflow.now()):
            self._to_start[request.request_id] = self._order(request, breaker=breaker)
        await self._start_together()

    async def start_open(self, still_open: Sequence[QueuedRequest], known: Collection[str]) -> None:
        """A run begins: what the ledger has as begun goes on, unless its workflow is known to the run before.

        A workflow that is gone all the same is started again by the adopting schedule.
        """
        if not still_open:
            return
        if not is_new_agent():
            for request in still_open:
                await self.start(request)
            return
        for request in still_open:
            if request.request_id not in known:
                self._to_start[request.request_id] = self._order(request)

    @property
    def to_start(self) -> tuple[str, ...]:
        """Requests in flight that this agent has still to start, perhaps as canceled."""
        return (*self._to_start, *self._refused)

    def try_refused_again(self) -> None:
        """Try what Temporal has refused to start once more, together with the next that start."""
        self._to_start |= self._refused
        self._refused = {}

    async def _start_together(self) -> None:
        """Start them by one local activity a batch; a message that comes meanwhile is handled after it."""
        while self._to_start:
            in_flight = self._state.queue.in_flight
            self._to_start = {key: order for key, order in self._to_start.items() if key in in_flight}
            orders = list(islice(self._to_start.values(), MAX_BATCH))
            if not orders:
                return
            with named_faults():
                refused = await workflow.execute_local_activity_method(
                    StartPayments.start_payments,
                    StartBatch(orders=tuple(orders)),
                    start_to_close_timeout=policies.START_STEP,
                    retry_policy=policies.AGENT_RETRIES,
                    summary=f"start {len(orders)}: {', '.join(order.request_id for order in orders)}"[:200],
                )
            for order in orders:
                self._to_start.pop(order.request_id, None)
            for each in refused:
                workflow.logger.warning("Temporal refuses to start %s: %s", each.request_id, each.message)
                self._refused |= {order.request_id: order for order in orders if order.request_id == each.request_id}

    async def cancel_requested(self) -> None:
        """Cancel each request that a signal named; one that still waits is started as canceled, to be recorded."""
        name, queue = self._state.spec.name, self._state.queue
        while queue.cancels:
            request_id = queue.cancels[0]
            waiting = queue.begin_now(request_id)
            if waiting is not None:
                await self._start_canceled(waiting)
            elif (order := self._to_start.get(request_id) or self._refused.get(request_id)) is not None:
                self._to_start[request_id] = order.model_copy(update={"canceled": True})
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
        if self._state.stopping and questions and (is_new_agent() or workflow.patched(CLOSES_QUESTIONS)):
            for request_id in questions:
                if request_id not in self._closed:  # a late notice tells of the same question once more
                    self._state.queue.add_cancel(request_id)
                    self._closed.add(request_id)
                self._state.queue.end_hold(request_id)

    async def _start_canceled(self, request: QueuedRequest) -> None:
        if is_new_agent():
            self._to_start[request.request_id] = self._order(request, canceled=True)
            await self._start_together()
        else:
            await self.start(request, canceled=True)

    def _order(self, request: QueuedRequest, *, canceled: bool = False, breaker: str | None = None) -> PaymentOrder:
        name = self._state.spec.name
        return PaymentOrder(
            agent=name,
            request_id=request.request_id,
            request_key=x402_request_id(name, request.request_id),
            url=request.url,
            method=request.method,
            canceled=canceled,
            breaker=breaker,
            accepted=self._accepted.pop(request.request_id, None),
        )

    # Runs that began before payments were started together

    async def start(self, request: QueuedRequest, *, canceled: bool = False, breaker: str | None = None) -> None:
        """Start the payment, unless it already runs. One that has ended has sent its notice, or is in the ledger."""
        name, order = self._state.spec.name, self._order(request, canceled=canceled, breaker=breaker)
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
