"""One request's workflow from outside: workers that die and are replaced, cancels, terminations, a second run.

Whatever happens to its workers, the shell goes on until the request has ended.
"""

import asyncio
from contextvars import copy_context
from uuid import UUID

from autopay.domain.errors import Fault
from autopay.domain.payment.run import PaymentRun
from autopay.domain.payment.steps import PaymentOrder
from autopay.domain.request import RequestResult
from tests.simulation.journal import ContinuedAsNew, Journal, WorkflowFailed
from tests.simulation.product import Activities
from tests.simulation.steps import SimSteps
from tests.world.clock import now_ms, sleep_ms
from tests.world.faults import PROCESS, Crashed, Process
from tests.world.world import World

WORKER_RECOVERY_MS = 15_000
ADOPTION_MS = 60_000
OTHER_WORKER = 0.7
"""Of the workers that go on where one died, how many know nothing of what that one had read and signed."""


class Shell:
    """Runs one request to its end. `mistakes` collects what must never happen to a workflow."""

    def __init__(self, world: World, activities: Activities, order: PaymentOrder, name: str = "run") -> None:
        self.world = world
        self.order = order
        self.mistakes: list[str] = []
        self.disturbed = False
        self._worker = activities
        self._name = name
        self._workers = 0
        self._journal = Journal()
        self._process: Process | None = None
        self._steps: SimSteps | None = None
        self._terminated = False
        self._left_running: set[asyncio.Task[RequestResult]] = set()

    async def run(self) -> RequestResult:
        """Workflow after workflow, until one returns."""
        while True:
            self._journal, self._terminated = Journal(), False
            try:
                result = await self._workflow()
            except ContinuedAsNew:
                self._note("continued_as_new")
                if self._journal.canceled_at is not None:
                    self.order = self.order.model_copy(update={"canceled": True})
                self.order = self.order.for_another_run()
                continue
            except WorkflowFailed as failed:
                self._note("workflow_failed", why=str(failed))
                if not self.disturbed:
                    self.mistakes.append(f"the workflow of {self.order.request_id} failed: {failed}")
            else:
                if result is not None:
                    return result
            self.order = self.order.for_another_run()
            await sleep_ms(self.world.rng.randint(1, ADOPTION_MS))
            self._note("adopted")

    def cancel(self) -> None:
        """A cancel reaches the workflow."""
        self._note("canceled")
        if self._process is None or self._steps is None:
            self._journal.canceled_at = len(self._journal.committed)
            return
        self._journal.canceled_at = self._steps.begun - 1
        self._steps.payment_run.canceled = True

    def terminate(self) -> None:
        """Somebody terminates the workflow; its worker may not notice for a while."""
        self._note("terminated")
        self._terminated = True
        if self._process is not None:
            self._process.give_up(now_ms() + self.world.rng.choice((0, 0, 1_000, 20_000)))

    async def _workflow(self) -> RequestResult | None:
        """Worker after worker; None when it was terminated."""
        while not self._terminated:
            task = await self._on_one_worker()
            if task is not None and task.done():
                error = task.exception()
                if error is None:
                    return task.result()
                if not isinstance(error, Crashed):
                    raise error
            if not self._terminated:
                self._journal.forget_uncommitted()
                await sleep_ms(self.world.rng.randint(1, WORKER_RECOVERY_MS))
        return None

    async def _on_one_worker(self) -> asyncio.Task[RequestResult] | None:
        """The task that came to an end, or None when its worker was lost."""
        self._workers += 1
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def end(*_: object) -> None:
            if not ended.done():
                ended.set_result(None)

        process = Process(f"{self.order.request_id}/{self._name}{self._workers}", lost=end)
        if self._workers > 1 and self.world.rng.random() < OTHER_WORKER:
            self._worker = Activities.over(self.world)
        steps = SimSteps(self._worker, self._journal, process, self.world.faults, self._unexpected, self._is_decided)
        payment_run = steps.payment_run = PaymentRun(self.order, steps)
        self._process, self._steps = process, steps
        context = copy_context()
        context.run(PROCESS.set, process)
        task = asyncio.create_task(payment_run.run(), context=context)
        task.add_done_callback(end)
        await ended
        self._process = self._steps = None
        self.disturbed = self.disturbed or steps.late_effects
        if task.done() and not process.abandoned:
            return task
        self.disturbed = self.disturbed or not process.is_dead
        self._left_running.add(task)
        task.add_done_callback(self._note_zombie_end)
        return None

    def _note_zombie_end(self, task: "asyncio.Task[RequestResult]") -> None:
        self._left_running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._unexpected(error)

    def _is_decided(self, approval_id: UUID) -> bool:
        asked = next(each for each in self.world.ledger.store.approvals if each.approval_id == approval_id)
        return bool(asked.status != "PENDING")

    def _unexpected(self, error: BaseException) -> None:
        if not isinstance(error, Fault | Crashed | ContinuedAsNew | WorkflowFailed):
            self.mistakes.append(f"{self.order.request_id}: {type(error).__name__}: {error}")

    def _note(self, kind: str, **facts: object) -> None:
        self.world.trace.add(kind, request=self.order.request_key, run=self._name, **facts)
