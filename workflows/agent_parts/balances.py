"""How an agent learns of its money: it reads its balances, and waits for a top-up while money is short."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.agent_steps import AgentSteps
    from activities.top_up import TopUp
    from autopay.domain.agent.state.breakers import CHAIN_FAULTS
    from autopay.domain.agent.state.durable_state import DurableState
    from autopay.domain.agent.steps import BalanceQuery, TopUpQuery
    from autopay.domain.payment.steps import StepFailed

from workflows import policies
from workflows.durable_steps import named_faults
from workflows.releases import is_new_agent

READ_AFTER_START = timedelta(seconds=5)
"""After a wait for a top-up began, balances are read once more: money may have come in just before."""

BETWEEN_WAITS = timedelta(seconds=10)
"""A wait for a top-up begins this long after the start of the last one at the earliest, whatever ended that."""


class BalanceReader:
    """Reads the balances when they are due, one reading at a time; `wake` makes the agent's loop decide again."""

    def __init__(self, state: DurableState, wake: Callable[[], None]) -> None:
        self._state = state
        self._wake = wake
        self._task: asyncio.Task[None] | None = None

    @property
    def is_reading(self) -> bool:
        """Whether a reading has begun and not ended."""
        return self._task is not None

    async def read_if_due(self) -> None:
        """Read the balances if they are due; beside the loop, unless nothing can be bought before."""
        if not self.is_reading and self._state.balances_are_due(workflow.now()):
            await self._begin(waits=not is_new_agent() or self._state.must_read_first())

    async def read_before_buying(self) -> None:
        """Read the balances if something may start that costs money, and the last reading is `balance_every_s` old.

        A younger one is bought by, less what was paid since: the ledger's reservation and the chain's own allowance
        let nothing be overspent by it. A reading that goes on beside the loop is waited for: it may have begun in this
        turn, when the last one is hours old.
        """
        if not self._state.must_read_before_buying(workflow.now()):
            return
        if self.is_reading:
            await self._wait_for_reading()
        else:
            await self._begin(waits=True)

    async def _begin(self, *, waits: bool) -> None:
        self._task = asyncio.create_task(self._read())
        if waits:
            await self._wait_for_reading()

    async def _wait_for_reading(self) -> None:
        """After a fault of the chain the reading goes on beside the loop in any case."""
        if not self._state.breakers.rpc.faults:
            await workflow.wait_condition(lambda: not self.is_reading)

    async def _read(self) -> None:
        state, spec, began = self._state, self._state.spec, workflow.now()
        state.balances.begin_reading()
        query = BalanceQuery(
            agent=spec.name,
            currencies=spec.currencies,
            needed={currency: spec.rules.needed(currency) for currency in spec.currencies},
        )
        try:
            with named_faults():
                readings = await workflow.execute_local_activity_method(
                    AgentSteps.balances,
                    query,
                    start_to_close_timeout=policies.BALANCES_STEP,
                    retry_policy=policies.ONCE,
                    summary=f"read balances: {', '.join(spec.currencies)}",
                )
        except StepFailed as failed:
            workflow.logger.warning("balances unreadable: %s", failed.message)
            if failed.type in CHAIN_FAULTS:
                state.record_balances_fault(workflow.now())
            else:
                state.balances.next_reading = workflow.now() + timedelta(seconds=state.spec.rules.balance_every_s)
        else:
            state.record_balances(readings, began, workflow.now(), backs_off=is_new_agent())
        finally:
            self._task = None
            self._wake()


class TopUpWait:
    """While money is short, an activity that listens to the accounts; the reading of balances goes on beside it."""

    def __init__(self, state: DurableState, wake: Callable[[], None]) -> None:
        self._state = state
        self._wake = wake
        self._wait: workflow.ActivityHandle[bool] | None = None
        self._next_start: datetime | None = None

    def next_start(self, now: datetime) -> datetime | None:
        """When a wait may begin again, if that is later than now and none runs."""
        is_later = self._wait is None and self._next_start is not None and now < self._next_start
        return self._next_start if is_later else None

    def start_or_end(self) -> None:
        """Start the wait if money is short, end it if not."""
        now = workflow.now()
        if not self._state.needs_top_up(now):
            self.end()
        elif self._wait is None and self.next_start(now) is None:
            self._start(now)

    def _start(self, now: datetime) -> None:
        spec, balances = self._state.spec, self._state.balances
        self._wait = workflow.start_activity_method(
            TopUp.wait_for_top_up,
            TopUpQuery(agent=spec.name, currencies=spec.currencies, timeout_s=policies.TOP_UP_WAIT.total_seconds()),
            task_queue=f"{workflow.info().task_queue}{policies.WAITS}",
            start_to_close_timeout=policies.TOP_UP_STEP,
            schedule_to_close_timeout=policies.TOP_UP_STEP,
            heartbeat_timeout=policies.TOP_UP_HEARTBEAT,
            retry_policy=policies.TOP_UP_RETRIES,
            cancellation_type=workflow.ActivityCancellationType.TRY_CANCEL,
            summary=f"until money comes in: {balances.describe_missing(spec.rules)}"[:200],
        )
        self._wait.add_done_callback(self._ended)
        self._next_start = now + BETWEEN_WAITS
        balances.request_by(now + READ_AFTER_START)

    def _ended(self, ended: "asyncio.Task[bool]") -> None:
        failed = ended.cancelled() or ended.exception() is not None
        if ended is not self._wait:
            return  # a wait that `end` has canceled
        self._wait = None
        self._wake()
        if not failed and ended.result():
            self._state.request_balances(workflow.now())

    def end(self) -> None:
        """Cancel the wait, if one runs."""
        if self._wait is not None:
            canceled, self._wait = self._wait, None
            canceled.cancel()
