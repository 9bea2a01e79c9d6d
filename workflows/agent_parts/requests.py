"""How an agent records requests in the ledger: in batches.

Requests by hand (each is an update, whose handler waits for its own outcome) and watches that are due are added to one
list. One task takes a batch from it, records it by one local activity, and sets the outcome of each; what is added
meanwhile is in the next batch.

| crash | what follows |
|---|---|
| before the batch commits | the activity runs again: no update was answered, nothing is recorded |
| after it commits, before its marker | the activity runs again; the ledger knows the ids and returns their state |
| after the marker | the outcomes are in the history; each update is answered once |
| the agent continues as new | it waits for all handlers before, so that no request is left in the list |
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.agent_steps import AgentSteps
    from autopay.domain.agent.spec import Watch
    from autopay.domain.agent.state.durable_state import DurableState
    from autopay.domain.agent.steps import (
        BatchOutcome,
        EnqueueBatch,
        Enqueued,
        EnqueueFailed,
        EnqueueInput,
        QueuedRequest,
        ToEnqueue,
    )
    from autopay.domain.refusal import Refused
    from autopay.domain.request import CLOSED, RequestSpec, RequestStatus

from workflows import policies
from workflows.durable_steps import named_faults
from workflows.releases import is_new_agent

READ_AGAIN = "watches-read-again"
"""A patch for runs of 0.2.0, which enqueue one watch after the other: one that is no longer due by then is left out."""

MAX_BATCH = 100


@dataclass
class _Pending:
    """A request, or the name of a due watch, to be recorded. The outcome is None when the watch is no longer due."""

    wanted: RequestSpec | str
    outcome: "asyncio.Future[BatchOutcome | None]" = field(default_factory=asyncio.Future)


class RequestRecorder:
    """Records the requests of one agent.

    Args:
        accepted: is called with each request that the ledger has queued.
        wake: makes the agent's loop take another turn.
    """

    def __init__(self, state: DurableState, accepted: Callable[[RequestSpec], None], wake: Callable[[], None]) -> None:
        self._state = state
        self._accepted = accepted
        self._wake = wake
        self._pending: list[_Pending] = []
        self._recording: asyncio.Task[None] | None = None

    async def enqueue(self, spec: RequestSpec) -> BatchOutcome:
        """Record the request: then it waits, or it is answered from what the agent has. Raises StepFailed."""
        if not is_new_agent():
            return await self._enqueue_alone(spec)
        outcome = await self._add(spec)
        assert outcome is not None
        return outcome

    async def enqueue_due_watches(self) -> None:
        """Record a request for each watch that is due. Raises StepFailed."""
        state = self._state
        due = state.due_watches(workflow.now())
        if not due:
            return
        if not is_new_agent():
            await self._enqueue_one_by_one(due)
            return
        outcomes = await asyncio.gather(*[self._add(watch.name) for watch in due])
        for watch, outcome in zip(due, outcomes, strict=True):
            self._note_refusal(watch, outcome)

    def _add(self, wanted: RequestSpec | str) -> "asyncio.Future[BatchOutcome | None]":
        pending = _Pending(wanted)
        self._pending.append(pending)
        if self._recording is None:
            self._recording = asyncio.create_task(self._record_all())
        return pending.outcome

    async def _record_all(self) -> None:
        while self._pending:
            batch, self._pending = self._pending[:MAX_BATCH], self._pending[MAX_BATCH:]
            try:
                await self._record(batch)
            except Exception as error:
                for each in batch:
                    if not each.outcome.done():
                        each.outcome.set_exception(error)
        self._recording = None

    async def _record(self, batch: Sequence[_Pending]) -> None:
        """Record what is still wanted; watches may be removed or replaced while a batch before is recorded."""
        state, now = self._state, workflow.now()
        is_for_watches = any(isinstance(each.wanted, str) for each in batch)
        due = {watch.name: watch for watch in state.due_watches(now)} if is_for_watches else {}
        wanted: list[tuple[_Pending, RequestSpec]] = []
        for each in batch:
            if isinstance(each.wanted, RequestSpec):
                wanted.append((each, each.wanted))
            elif (watch := due.get(each.wanted)) is not None:
                wanted.append((each, watch.spec(state.schedule.plans[watch.name].due)))
            else:
                each.outcome.set_result(None)
        if not wanted:
            return
        requests = [self._queued(spec) for _, spec in wanted]
        names = ", ".join(request.request_id for request in requests)
        with named_faults():
            outcomes = await workflow.execute_local_activity_method(
                AgentSteps.enqueue_many,
                EnqueueBatch(
                    agent=state.spec.name,
                    queue_limit=state.spec.rules.queue_limit,
                    requests=tuple(
                        ToEnqueue(spec=spec, score=request.score, fresh_since=state.fresh_since(spec, now))
                        for (_, spec), request in zip(wanted, requests, strict=True)
                    ),
                ),
                start_to_close_timeout=policies.LEDGER_STEP,
                retry_policy=policies.AGENT_RETRIES,
                summary=f"enqueue {len(requests)}: {names}"[:200],
            )
        for (each, spec), request, outcome in zip(wanted, requests, outcomes, strict=True):
            if isinstance(outcome, Enqueued):
                if outcome.status == RequestStatus.WAITING and request.request_id not in state.queue:
                    self._accepted(spec)
                self._apply_outcome(request, outcome)
            each.outcome.set_result(outcome)

    def _queued(self, spec: RequestSpec) -> QueuedRequest:
        now = workflow.now()
        return QueuedRequest(
            request_id=spec.request_id,
            url=spec.url,
            method=spec.method,
            score=self._state.score(spec, now),
            queued_at=now,
            watch=spec.watch,
            max_price_atomic=spec.max_price_atomic,
            currency=spec.currency,
            body_hash=spec.body_hash,
        )

    def _apply_outcome(self, request: QueuedRequest, outcome: Enqueued) -> None:
        """The ledger has recorded it: put it into the queue, or note that it has ended already."""
        state = self._state
        if outcome.status == RequestStatus.FRESH and outcome.content_at is not None:
            state.record_fresh_answer(request, outcome.content_at)
        elif outcome.status not in CLOSED:
            state.queue.add(request)
        own = state.watch_named(request.watch)
        if own is not None and outcome.status != RequestStatus.FRESH:
            state.schedule.record_request(own, request.queued_at)
        self._wake()

    def _note_refusal(self, watch: Watch, outcome: BatchOutcome | None) -> None:
        if isinstance(outcome, Refused | EnqueueFailed):
            workflow.logger.warning("watch %s not enqueued: %s", watch.name, outcome.message)
            self._state.schedule.record_failure(watch, workflow.now())

    # Runs that began before requests were recorded together

    async def _enqueue_one_by_one(self, due: Sequence[Watch]) -> None:
        """Watches may be removed, replaced or bought by hand during each step, so the state is asked before each."""
        state = self._state
        for planned in due:
            watch = state.watch_named(planned.name)
            if watch is None or (not state.is_due(watch, workflow.now()) and workflow.patched(READ_AGAIN)):
                continue
            outcome = await self._enqueue_alone(watch.spec(state.schedule.plans[watch.name].due))
            self._note_refusal(watch, outcome)

    async def _enqueue_alone(self, spec: RequestSpec) -> Enqueued | Refused:
        state = self._state
        request = self._queued(spec)
        to_enqueue = EnqueueInput(
            agent=state.spec.name,
            spec=spec,
            score=request.score,
            queue_limit=state.spec.rules.queue_limit,
            fresh_since=state.fresh_since(spec, request.queued_at),
        )
        with named_faults():
            outcome = await workflow.execute_local_activity_method(
                AgentSteps.enqueue,
                to_enqueue,
                start_to_close_timeout=policies.LEDGER_STEP,
                retry_policy=policies.AGENT_RETRIES,
                summary=f"enqueue {spec.request_id}, score {request.score:g}",
            )
        if isinstance(outcome, Enqueued):
            self._apply_outcome(request, outcome)
        return outcome
