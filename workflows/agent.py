"""`Agent`: decides what to buy next, for months. Makes no payment itself: each is a `PaidRequest` of its own.

One loop over `AgentMemory`, the pure state: enqueue what is due, start what may start, wait for a message or the
next moment. Payments are children that outlive the agent (ABANDON) and tell it by signal how they ended; a new run
reads what waits and what is open from the ledger, so that continuing as new loses nothing.
"""

from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from activities.agent_steps import AgentSteps
    from autopay.domain.agent import AgentSpec, AgentState, AgentStatus
    from autopay.domain.agent_memory import AgentMemory
    from autopay.domain.steps import BalanceQuery, InFlight

from workflows import policies
from workflows.agent_messages import AgentMessages
from workflows.agent_page import page
from workflows.attributes import STATE


@workflow.defn(name="Agent")
class Agent(AgentMessages):
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
        super().__init__(spec, memory)
        self.shown: str | None = None

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

    async def _start_what_may_start(self) -> None:
        while (request := self.memory.take()) is not None:
            await self._start(request)

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
