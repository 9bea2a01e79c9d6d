"""`Agent`: decides what to buy next, for months. Makes no payment itself: each is a `PaidRequest` of its own.

One loop over `DurableState`: enqueue what is due, start what may start, wait for a message or the next moment.
Payments are workflows of their own that outlive the agent and tell it how they ended; a new run reads what waits and
what is open from the ledger, so that continuing as new loses nothing. A step that fails is tried again later: no fault
ends the agent.

What comes together is done together: requests are recorded in batches (agent_parts/requests.py), payments started in
batches (agent_parts/payments.py), and notices come in batches from an outbox (activities/notices.py). Each of the three
says what a crash leaves.

Message handlers are safe at any moment of the loop: they change the state and wake it. Signals only note what they
want, also before a run has read the ledger, and the loop acts on it; the update `request` waits for the ledger a while.
"""

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.agent_steps import AgentSteps
    from autopay.domain.agent.spec import MAX_WATCHES, AgentSpec, Rules, Watch
    from autopay.domain.agent.state.durable_state import DurableState
    from autopay.domain.agent.state.report import build_status
    from autopay.domain.agent.status import Accepted, AgentState, AgentStatus
    from autopay.domain.agent.steps import Enqueued, InFlightQuery, PhaseChange, QueuedRequest
    from autopay.domain.network import Network
    from autopay.domain.payment.notice import Notice
    from autopay.domain.payment.steps import StepFailed
    from autopay.domain.phase import Phase
    from autopay.domain.refusal import RefusalReason, Refused
    from autopay.domain.request import RequestSpec, is_request_id, payment_workflow_id
    from autopay.domain.unreadable import DroppedSignal, Unreadable

from workflows import policies
from workflows.agent_parts.balances import BalanceReader, TopUpWait
from workflows.agent_parts.kept import KeptAgent
from workflows.agent_parts.measured import CountedBreakers
from workflows.agent_parts.page import page
from workflows.agent_parts.payments import AgentPayments
from workflows.agent_parts.requests import RequestRecorder
from workflows.agent_parts.shown import ShownPage, ShownState
from workflows.agent_parts.wait import AgentWait
from workflows.durable_steps import named_faults
from workflows.releases import is_new_agent, takes_notice_lists

RECOVERY = timedelta(seconds=30)
"""How long the update `request` waits for the ledger when a run begins; then it fails, and may be sent again."""

MAX_SIGNAL_LENGTH = 100


@workflow.defn(name="Agent")
class Agent:
    """A long-running agent. Start with an `AgentSpec`; a continued run also gets its `DurableState`."""

    @workflow.run
    async def run(self, spec: AgentSpec, state: DurableState | None = None) -> AgentStatus:  # noqa: ARG002
        """Shields its steps: a cancel is taken as `stop`, so that no step is left half done."""
        working = asyncio.create_task(self._work())
        while True:
            try:
                return await asyncio.shield(working)
            except asyncio.CancelledError:
                if working.done():
                    raise
                self.stop()

    async def _work(self) -> AgentStatus:
        while not self._may_end():
            await self._take_turn()
            self.top_up.start_or_end()
            self._show()
            if self._should_continue_as_new():
                await self._continue_as_new()
            await self._wait()
            self.payments.close_questions()
        self.has_ended = True
        await self._finish_steps(waits_for_reading=is_new_agent())  # runs of 0.2.0 ended beside one
        self._show()
        return self.status()

    @workflow.init
    def __init__(self, spec: AgentSpec, state: DurableState | None = None) -> None:
        if isinstance(spec, Unreadable):
            raise TypeError(f"the agent's input cannot be read: {spec.why}")  # until a worker comes that can
        is_new_agent()  # asked first of all, and so before anything is replayed or done
        self.state = state or DurableState(spec=spec)
        self.payments = AgentPayments(self.state, self._wake)
        self.balances = BalanceReader(self.state, self._wake)
        self.top_up = TopUpWait(self.state, self._wake)
        self.kept = KeptAgent(self.state)
        self.requests = RequestRecorder(self.state, self.payments.note_accepted, self._wake)
        self.waiting = AgentWait()
        self.is_recovered = self.has_ended = False
        self.shown, self.shown_page = ShownState(), ShownPage()
        self.counted_breakers = CountedBreakers(self.state.breakers)
        self.phase_changes = asyncio.Lock()

    async def _take_turn(self) -> None:
        """All steps that are due, in this order; if one fails, the turn is tried again later."""
        state = self.state
        if state.retry.at is not None and workflow.now() < state.retry.at:
            return
        try:
            if not self.is_recovered:
                await self._recover()
            await self.kept.save_if_changed()
            await self.payments.cancel_requested()
            await self.balances.read_if_due()
            await self._check_in_flight()
            await self.requests.enqueue_due_watches()
            await self.balances.read_before_buying()
            await self.payments.start_next()
        except StepFailed as failed:
            if failed.type == "demo_on_mainnet":
                raise ApplicationError(failed.message, type=failed.type, non_retryable=True) from None
            workflow.logger.warning("a step failed: %s", failed.message)
            state.retry.step_failed(failed.message, workflow.now())
        else:
            state.retry.step_succeeded()

    async def _recover(self) -> None:
        """A run begins: read from the ledger what waits and what is open, then apply the notices that came before."""
        with named_faults():
            backlog = await workflow.execute_local_activity_method(
                AgentSteps.recover,
                self.state.spec,
                start_to_close_timeout=policies.LEDGER_STEP,
                retry_policy=policies.AGENT_RETRIES,
                summary="what the ledger holds for this agent",
            )
        known = set(self.state.queue.in_flight)
        self.state.load_backlog(backlog.queue, backlog.open, backlog.asked)
        await self.payments.start_open(backlog.open, known)
        self.is_recovered = True
        early, self.state.early_notices = self.state.early_notices, []
        for notice in early:
            self._take_notice(notice)

    async def _check_in_flight(self) -> None:
        """Ask the ledger, now and then, about what is in flight: a notice can be lost with a restored server."""
        queue, name = self.state.queue, self.state.spec.name
        if not queue.ledger_check_is_due(workflow.now()):
            return
        queue.plan_ledger_check(workflow.now())
        self.payments.try_refused_again()
        if not queue.in_flight:
            return
        with named_faults():
            ended = await workflow.execute_local_activity_method(
                AgentSteps.ended_among,
                InFlightQuery(agent=name, request_ids=tuple(queue.in_flight), to_start=self.payments.to_start),
                start_to_close_timeout=policies.LEDGER_STEP,
                retry_policy=policies.AGENT_RETRIES,
                summary=f"how {len(queue.in_flight)} requests in flight stand",
            )
        told = [notice for notice in ended if notice.request_id in queue.in_flight]
        for notice in told:
            self._take_notice(notice)
        if told and takes_notice_lists():
            self._wake()  # an agent that stops may have waited for just these

    async def _wait(self) -> None:
        """Wait for a message, the end of a reading, or the next moment that matters."""
        reads = self.balances.is_reading and is_new_agent()
        wake, top_up = self.state.next_wake(workflow.now(), is_reading=reads), self.top_up.next_start(workflow.now())
        await self.waiting.until(wake if top_up is None else min(wake, top_up))

    def _wake(self) -> None:
        self.waiting.wake()
        if not self.has_ended:
            self.shown.update_at_once(self.state.state)

    def _show(self) -> None:
        """Show state and status in the Temporal UI: a search attribute, and the current details; count breakers."""
        self.counted_breakers.update(self.state.spec.name, self.state.breakers)
        self.shown.update(AgentState.STOPPED if self.has_ended else self.state.state)
        if self.has_ended or self.shown_page.is_due(self.state.queue, workflow.now()):
            workflow.set_current_details(page(self.status()))

    # The end of a run

    def _may_end(self) -> bool:
        """Stopped or done, and nothing is left to do; what the ledger knows is asked first, unless it cannot be."""
        is_settled = self.is_recovered and not self.state.queue.cancels
        return self.state.is_finished() and (is_settled or self.state.retry.fault is not None)

    def _should_continue_as_new(self) -> bool:
        """A long history is left at a moment when no payment runs, or at twice the length in any case."""
        info, limit = workflow.info(), self.state.spec.rules.events_of_a_run(is_of_0_2=not is_new_agent())
        if info.is_continue_as_new_suggested() or info.is_target_worker_deployment_version_changed():
            return True
        length = info.get_current_history_length()
        return length >= limit and (not self.payments.any_running or length >= 2 * limit)

    async def _finish_steps(self, *, waits_for_reading: bool = True) -> None:
        self.top_up.end()
        balances, finished = self.balances, workflow.all_handlers_finished
        await workflow.wait_condition(lambda: finished() and not (waits_for_reading and balances.is_reading))

    async def _continue_as_new(self) -> None:
        """Finish, and carry the rest; a message that comes meanwhile makes the server try again.

        Neither the SDK nor the server hands on a static summary: the page says who this is.
        """
        await (self.waiting.for_quiet(self._finish_steps) if is_new_agent() else self._finish_steps())
        workflow.continue_as_new(
            args=[self.state.spec, self.state.for_next_run()],
            initial_versioning_behavior=workflow.ContinueAsNewVersioningBehavior.AUTO_UPGRADE,
        )

    # Signals: those that take a value allow `Unreadable`, which messages.py drops before the handler gets it

    def note_dropped(self, signal: str, why: str) -> None:
        """A signal could not be read; `status` says so."""
        self.state.dropped.add(DroppedSignal(at=workflow.now(), signal=signal[:MAX_SIGNAL_LENGTH], why=why))
        self._wake()

    @workflow.signal
    def pause(self, reason: str | Unreadable | None = None) -> None:
        """Start nothing new until `resume`; what is in flight finishes."""
        assert not isinstance(reason, Unreadable)
        self.state.pause_for(reason)
        self._wake()

    @workflow.signal
    def resume(self) -> None:
        """Go on; balances are read at once, and a step that failed is tried again at once."""
        self.state.pause, self.state.retry.at = None, None
        self.state.request_balances(workflow.now())
        self._wake()

    @workflow.signal
    def check_balances(self) -> None:
        """Read the balances now: money has come in. A person's pause stays."""
        self.state.request_balances(workflow.now())
        self._wake()

    @workflow.signal
    def stop(self) -> None:
        """Start nothing new, let what is in flight settle, then end. What waits stays in the ledger's queue; what
        waits for a person is canceled, as nobody would go on with it."""
        self.state.stopping = True
        self._wake()

    @workflow.signal
    def cancel(self, request_id: str | Unreadable) -> None:
        """Cancel one request: a waiting one never starts, one in flight pays nothing more than it has signed."""
        assert not isinstance(request_id, Unreadable)
        if not is_request_id(request_id):  # the server refuses workflow ids of any length or form, again and again
            self.note_dropped("cancel", "it names no request id")
            return
        self.state.queue.add_cancel(request_id)
        self._wake()

    @workflow.signal
    def notice(self, notice: Notice | Unreadable) -> None:
        """From a `PaidRequest` that began before notices came together."""
        assert not isinstance(notice, Unreadable)
        self._take_notice(notice)
        self._wake()

    @workflow.signal
    def notices(self, notices: list[Notice] | Unreadable) -> None:
        """What payments of a worker say, in their order: held, answered, or settled."""
        assert not isinstance(notices, Unreadable)
        if not takes_notice_lists():
            return  # a worker of before has dropped it; the ledger tells how these requests ended
        for notice in notices:
            self._take_notice(notice)
        self._wake()

    def _take_notice(self, notice: Notice) -> None:
        if self.is_recovered:
            self.state.apply_notice(notice, workflow.now(), spaced=is_new_agent())
        else:
            self.state.keep_early_notice(notice)

    # Updates

    @workflow.update
    async def request(self, spec: RequestSpec) -> Accepted:
        """Take a request; returns on acceptance, the result comes from the ledger."""
        try:
            await workflow.wait_condition(lambda: self.is_recovered or self.has_ended, timeout=RECOVERY)
            self._reject_if_stopping()
            outcome = await self.requests.enqueue(spec)
        except TimeoutError:
            raise _rejection("ledger_unavailable", self.state.retry.fault or "the ledger does not answer") from None
        except StepFailed as failed:
            raise _rejection(failed.type, failed.message) from None
        if not isinstance(outcome, Enqueued):
            kind = outcome.reason.value if isinstance(outcome, Refused) else outcome.type
            raise _rejection(kind, outcome.message)
        return Accepted(
            request_id=spec.request_id,
            workflow_id=payment_workflow_id(self.state.spec.name, spec.request_id),
            queued=len(self.state.queue.waiting),
            status=outcome.status,
            content_of=outcome.content_of,
        )

    @request.validator
    def _may_request(self, spec: RequestSpec) -> None:
        self._reject_if_stopping()
        queue, limit = self.state.queue, self.state.spec.rules.queue_limit
        if queue.is_full(limit) and spec.request_id not in queue:
            raise _rejection(
                RefusalReason.QUEUE_FULL.value, f"{limit} requests wait already, for their turn or for a person"
            )

    @workflow.update
    def watch(self, watch: Watch) -> None:
        """Keep this data fresh from now on; replaces a watch of the same name."""
        self.state.add_watch(watch, workflow.now())
        self._wake()

    @watch.validator
    def _may_watch(self, watch: Watch) -> None:
        self._reject_if_stopping()
        is_new = self.state.watch_named(watch.name) is None
        if is_new and len(self.state.spec.watches) >= MAX_WATCHES:
            raise _rejection("too_many_watches", f"an agent keeps at most {MAX_WATCHES} watches")
        if watch.currency is not None and watch.currency not in self.state.spec.currencies:
            own = ", ".join(self.state.spec.currencies)
            raise _rejection("unknown_currency", f"this agent pays in {own}, not in {watch.currency}")

    @workflow.update
    def unwatch(self, name: str) -> None:
        """Stop keeping this data fresh; what it has queued stays."""
        self.state.remove_watch(name)
        self._wake()

    @unwatch.validator
    def _is_watched(self, name: str) -> None:
        if self.state.watch_named(name) is None:
            raise _rejection("unknown_watch", f"there is no watch {name!r}")

    @workflow.update
    def rules(self, rules: Rules) -> None:
        """Change the agent's own limits."""
        self.state.change_rules(rules)
        self._wake()

    @rules.validator
    def _may_change_rules(self, rules: Rules) -> None:  # noqa: ARG002 (the limits of each value are its type's)
        self._reject_if_stopping()

    @workflow.update
    async def phase(self, phase: Phase) -> list[str]:
        """Change how much the agent may do without a person: in the ledger, where payments look, then here.

        Returns the requests whose questions to a person are withdrawn by that: they go on by themselves.
        """
        async with self.phase_changes:
            try:
                with named_faults():
                    withdrawn = await workflow.execute_local_activity_method(
                        AgentSteps.change_phase,
                        PhaseChange(agent=self.state.spec.name, phase=phase.value),
                        start_to_close_timeout=policies.LEDGER_STEP,
                        retry_policy=policies.AGENT_RETRIES,
                        summary=f"from now on in phase {phase.value}",
                    )
            except StepFailed as failed:
                raise _rejection(failed.type, failed.message) from None
            self.state.change_phase(phase)
            await self.payments.withdraw(withdrawn or [])
            self._wake()
        return [each.request_id for each in withdrawn or []]

    @phase.validator
    def _may_change_phase(self, phase: Phase) -> None:
        self._reject_if_stopping()
        if phase == Phase.DEMO and self.state.spec.network == Network.MAINNET:
            raise _rejection("demo_on_mainnet", "an agent in phase DEMO never runs on mainnet")

    def _reject_if_stopping(self) -> None:
        if self.state.stopping or self.has_ended:
            raise _rejection(RefusalReason.AGENT_STOPPED.value, "the agent is stopping")

    # Queries

    @workflow.query
    def status(self) -> AgentStatus:
        """What the agent is doing, and why."""
        return build_status(self.state, workflow.now(), has_ended=self.has_ended)

    @workflow.query
    def queue(self) -> list[QueuedRequest]:
        """What waits, next first."""
        return list(self.state.queue.waiting)


def _rejection(kind: str, message: str) -> ApplicationError:
    """What the caller of an update gets; `kind` is for programs."""
    return ApplicationError(message, type=kind, non_retryable=True)
