"""`Agent`: decides what to buy next, for months. Makes no payment itself: each is a `PaidRequest` of its own.

One loop over `AgentMemory`, the pure state: enqueue what is due, start what may start, wait for a message or the
next moment. Payments are children that outlive the agent (ABANDON) and tell it by signal how they ended; a new run
reads what waits and what is open from the ledger, so that continuing as new loses nothing. A step that fails is tried
again later: no fault ends the agent.
"""

import asyncio
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.agent_steps import AgentSteps
    from activities.top_up import TopUp
    from autopay.domain.agent.memory import CHAIN_FAULTS, AgentMemory
    from autopay.domain.agent.report import report
    from autopay.domain.agent.spec import AgentSpec
    from autopay.domain.agent.status import AgentState, AgentStatus
    from autopay.domain.agent.steps import BalanceQuery, InFlight, TopUpQuery
    from autopay.domain.payment.steps import StepFailed
    from autopay.domain.refusal import Refused
    from autopay.temporal.attributes import STATE

from workflows import policies
from workflows.agent_messages import AgentMessages
from workflows.agent_page import page
from workflows.durable_steps import named_faults

LOOK_AGAIN = timedelta(seconds=5)
"""After a wait for money began, balances are read once more: it may have come in just before."""

BETWEEN_WAITS = timedelta(seconds=10)
"""A wait for money begins this long after the last one at the earliest, whatever ends it."""

SHORTEST = timedelta(milliseconds=200)


@workflow.defn(name="Agent")
class Agent(AgentMessages):
    """A long-running agent. Start with an `AgentSpec`; a continued run also gets its `AgentMemory`."""

    @workflow.run
    async def run(self, spec: AgentSpec, memory: AgentMemory | None = None) -> AgentStatus:  # noqa: ARG002
        while not self._may_end():
            await self._turn()
            self._watch_for_top_up()
            self._show()
            if self._should_continue_as_new():
                await self._continue_as_new()
            await self._wait()
        self.over = True
        self._watch_for_top_up()
        await workflow.wait_condition(workflow.all_handlers_finished)
        self._show()
        return report(self.memory, workflow.now(), over=True)

    @workflow.init
    def __init__(self, spec: AgentSpec, memory: AgentMemory | None = None) -> None:
        super().__init__(spec, memory)
        self.shown: str | None = None
        self.reading: asyncio.Task[None] | None = None
        self.top_up: workflow.ActivityHandle[bool] | None = None
        self.next_top_up: datetime | None = None

    # The loop's parts

    def _may_end(self) -> bool:
        """Stopped or done, and nothing is left to do; what the ledger knows is asked first, unless it cannot be."""
        is_settled = self.is_recovered and not self.memory.cancels
        return self.memory.is_finished() and (is_settled or self.memory.trouble is not None)

    async def _turn(self) -> None:
        now = workflow.now()
        if self.memory.retry_at is not None and now < self.memory.retry_at:
            return
        try:
            await self._recover()
            await self._cancel_what_was_canceled()
            await self._look_at_money()
            await self._catch_up()
            await self._enqueue_due_watches()
            await self._start_what_may_start()
        except StepFailed as failed:
            if failed.type == "demo_on_mainnet":
                raise ApplicationError(failed.message, type=failed.type, non_retryable=True) from None
            workflow.logger.warning("a step failed: %s", failed.message)
            self.memory.stumbled(failed.message, workflow.now())
        else:
            self.memory.stands()

    async def _recover(self) -> None:
        if self.is_recovered:
            return
        with named_faults():
            backlog = await workflow.execute_local_activity_method(
                AgentSteps.recover,
                self.memory.spec,
                start_to_close_timeout=policies.LEDGER_STEP,
                retry_policy=policies.AGENT_RETRIES,
                summary="what the ledger holds for this agent",
            )
        self.memory.recovered(backlog.queue, backlog.open, backlog.asked)
        for request in backlog.open:
            await self._start(request)
        self.is_recovered = True
        self._hear_what_came_before()

    async def _look_at_money(self) -> None:
        """Read the balances when they are due; a chain that has just failed is asked without waiting for it."""
        if self.reading is None and self.memory.wants_balances(workflow.now()):
            self.reading = asyncio.create_task(self._read_balances())
            if not self.memory.rpc.faults:
                await workflow.wait_condition(lambda: self.reading is None)

    async def _read_balances(self) -> None:
        spec, began = self.memory.spec, workflow.now()
        query = BalanceQuery(
            agent=spec.name,
            currencies=spec.currencies,
            needed={currency: spec.rules.needed(currency) for currency in spec.currencies},
        )
        try:
            with named_faults():
                spendable = await workflow.execute_local_activity_method(
                    AgentSteps.balances,
                    query,
                    start_to_close_timeout=policies.BALANCES_STEP,
                    retry_policy=policies.ONCE,
                    summary=f"read balances: {', '.join(spec.currencies)}",
                )
        except StepFailed as failed:
            workflow.logger.warning("balances unreadable: %s", failed.message)
            if failed.type in CHAIN_FAULTS:
                self.memory.balances_unread(workflow.now())
            else:
                self.memory.next_balance = workflow.now() + timedelta(seconds=spec.rules.balance_every_s)
        else:
            self.memory.balances(spendable, began, workflow.now())
        finally:
            self.reading, self.news = None, True

    async def _catch_up(self) -> None:
        """Ask the ledger, now and then, about what is in flight: a notice can be lost with a restored server."""
        if not self.memory.wants_to_catch_up(workflow.now()):
            return
        with named_faults():
            ended = await workflow.execute_local_activity_method(
                AgentSteps.ended_among,
                InFlight(agent=self.memory.spec.name, request_ids=tuple(self.memory.in_flight)),
                start_to_close_timeout=policies.LEDGER_STEP,
                retry_policy=policies.AGENT_RETRIES,
                summary=f"how {len(self.memory.in_flight)} requests in flight stand",
            )
        for notice in ended:
            if notice.request_id in self.memory.in_flight:
                self.memory.noticed(notice, workflow.now())

    async def _enqueue_due_watches(self) -> None:
        for watch in self.memory.due_watches(workflow.now()):
            due = self.memory.watching.plans[watch.name].due
            outcome = await self._enqueue(watch.spec(due))
            if isinstance(outcome, Refused):
                workflow.logger.warning("watch %s not enqueued: %s", watch.name, outcome.message)
                self.memory.watching.missed(watch, workflow.now())

    async def _start_what_may_start(self) -> None:
        while (taken := self.memory.take(workflow.now())) is not None:
            request, breaker = taken
            await self._start(request, breaker=breaker)

    def _watch_for_top_up(self) -> None:
        """While money is short, a worker listens to the accounts; the polling of balances goes on beside it."""
        now = workflow.now()
        wanted = not self.over and self.memory.wants_top_up(now)
        if not wanted and self.top_up is not None:
            self._end_wait_for_top_up()
        if not wanted or self.top_up is not None or (self.next_top_up is not None and now < self.next_top_up):
            return
        spec = self.memory.spec
        self.top_up = workflow.start_activity_method(
            TopUp.wait_for_top_up,
            TopUpQuery(agent=spec.name, currencies=spec.currencies, timeout_s=policies.TOP_UP_WAIT.total_seconds()),
            task_queue=f"{workflow.info().task_queue}{policies.WAITS}",
            start_to_close_timeout=policies.TOP_UP_STEP,
            schedule_to_close_timeout=policies.TOP_UP_STEP,
            heartbeat_timeout=policies.TOP_UP_HEARTBEAT,
            retry_policy=policies.TOP_UP_RETRIES,
            cancellation_type=workflow.ActivityCancellationType.TRY_CANCEL,
            summary=f"until money comes in: {self.memory.purse.missing(spec.rules)}"[:200],
        )
        self.top_up.add_done_callback(self._topped_up)
        self.next_top_up = now + BETWEEN_WAITS
        if self.memory.next_balance is not None:
            self.memory.next_balance = min(self.memory.next_balance, now + LOOK_AGAIN)

    def _topped_up(self, ended: "asyncio.Task[bool]") -> None:
        failed = ended.cancelled() or ended.exception() is not None
        if ended is not self.top_up:
            return  # a wait that was given up
        self.top_up, self.news = None, True
        if not failed and ended.result():
            self.memory.look_at_money(workflow.now())

    def _end_wait_for_top_up(self) -> None:
        if self.top_up is not None:
            waiting, self.top_up = self.top_up, None
            waiting.cancel()

    def _should_continue_as_new(self) -> bool:
        """A long history is left at a moment when no payment runs, or at twice the length in any case."""
        info, most = workflow.info(), self.memory.spec.rules.history_events
        if info.is_continue_as_new_suggested() or info.is_target_worker_deployment_version_changed():
            return True
        length = info.get_current_history_length()
        return length >= most and (not self.running or length >= 2 * most)

    async def _continue_as_new(self) -> None:
        """Wait for what is half done, and carry the rest; a message that comes meanwhile makes the server try again.

        Neither the SDK nor the server hands on a static summary: the page says who this is.
        """
        self._end_wait_for_top_up()
        await workflow.wait_condition(lambda: workflow.all_handlers_finished() and self.reading is None)
        workflow.continue_as_new(
            args=[self.memory.spec, self.memory.carried()],
            initial_versioning_behavior=workflow.ContinueAsNewVersioningBehavior.AUTO_UPGRADE,
        )

    async def _wait(self) -> None:
        now = workflow.now()
        wake = self.memory.next_wake(now)
        if self.top_up is None and self.next_top_up is not None and now < self.next_top_up:
            wake = min(wake, self.next_top_up)
        try:
            await workflow.wait_condition(
                lambda: self.news,
                timeout=max(wake - now, SHORTEST),
                timeout_summary=f"until {wake:%H:%M:%S} or a message",
            )
        except TimeoutError:
            return
        finally:
            self.news = False

    def _show(self) -> None:
        state = (AgentState.STOPPED if self.over else self.memory.state).value
        if state != self.shown:
            workflow.upsert_search_attributes([STATE.value_set(state)])
            self.shown = state
        workflow.set_current_details(page(report(self.memory, workflow.now(), over=self.over)))
