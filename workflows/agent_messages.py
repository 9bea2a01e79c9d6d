"""What an agent hears and answers: its signals, updates and queries. Safe at any moment of the loop in agent.py.

A handler changes `AgentMemory` and sets `news`, which wakes the loop. Signals only note what they want, also before a
run has read the ledger, and the loop acts on it; updates that need the ledger's queue wait for it a little.
"""

from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.agent_steps import AgentSteps
    from autopay.domain.agent.report import report
    from autopay.domain.agent.spec import MAX_WATCHES, Rules, Watch
    from autopay.domain.agent.status import Accepted, AgentStatus
    from autopay.domain.agent.steps import PhaseChange, QueuedRequest
    from autopay.domain.network import Network
    from autopay.domain.payment.notice import Notice
    from autopay.domain.payment.steps import StepFailed
    from autopay.domain.phase import Phase
    from autopay.domain.refusal import RefusalReason, Refused
    from autopay.domain.request import RequestSpec, payment_workflow_id

from workflows import policies
from workflows.agent_requests import AgentRequests
from workflows.durable_steps import named_faults

RECOVERY = timedelta(seconds=30)
"""How long an update waits for the ledger when a run begins; then it fails, and may be asked again."""

MOST_CANCELS = 1000


def rejected(kind: str, message: str) -> ApplicationError:
    """What the caller of an update is told; `kind` is for programs."""
    return ApplicationError(message, type=kind, non_retryable=True)


class AgentMessages(AgentRequests):
    """The half of `Agent` that others talk to."""

    # Signals

    @workflow.signal
    def pause(self, reason: str | None = None) -> None:
        """Start nothing new until `resume`; what is in flight finishes."""
        self.memory.pause = (reason or "paused by signal")[:400]
        self.news = True

    @workflow.signal
    def resume(self) -> None:
        """Go on; balances are read again at once, and so is whatever failed tried."""
        self.memory.pause, self.memory.retry_at, self.news = None, None, True
        self.memory.look_at_money(workflow.now())

    @workflow.signal
    def check_balances(self) -> None:
        """Read the balances now: money has come in. A person's pause stays."""
        self.memory.look_at_money(workflow.now())
        self.news = True

    @workflow.signal
    def stop(self) -> None:
        """Start nothing new, let what is in flight settle, then end. What waits stays in the ledger's queue."""
        self.memory.stopping = self.news = True

    @workflow.signal
    def cancel(self, request_id: str) -> None:
        """Cancel one request: a waiting one never starts, one in flight pays nothing more than it has signed."""
        if request_id not in self.memory.cancels and len(self.memory.cancels) < MOST_CANCELS:
            self.memory.cancels.append(request_id)
        self.news = True

    @workflow.signal
    def notice(self, notice: Notice) -> None:
        """From a `PaidRequest`: held, answered, or settled."""
        if self.is_recovered:
            self.memory.noticed(notice, workflow.now())
        else:
            self.memory.unheard.append(notice)
        self.news = True

    # Updates

    @workflow.update
    async def request(self, spec: RequestSpec) -> Accepted:
        """Take a request; returns on acceptance, the result comes from the ledger."""
        try:
            await workflow.wait_condition(lambda: self.is_recovered or self.over, timeout=RECOVERY)
            self._require_going_on()
            outcome = await self._enqueue(spec)
        except TimeoutError:
            raise rejected("ledger_unavailable", self.memory.trouble or "the ledger does not answer") from None
        except StepFailed as failed:
            raise rejected(failed.type, failed.message) from None
        if isinstance(outcome, Refused):
            raise rejected(outcome.reason.value, outcome.message)
        return Accepted(
            request_id=spec.request_id,
            workflow_id=payment_workflow_id(self.memory.spec.name, spec.request_id),
            queued=len(self.memory.queue),
            status=outcome.status,
            content_of=outcome.content_of,
        )

    @request.validator
    def _may_request(self, spec: RequestSpec) -> None:
        self._require_going_on()
        if self.memory.is_full() and not self.memory.knows(spec.request_id):
            limit = self.memory.spec.rules.queue_limit
            raise rejected(
                RefusalReason.QUEUE_FULL.value, f"{limit} requests wait already, for their turn or for a person"
            )

    @workflow.update
    def watch(self, watch: Watch) -> None:
        """Keep this data fresh from now on; replaces a watch of the same name."""
        self.memory.watch(watch, workflow.now())
        self.news = True

    @watch.validator
    def _may_watch(self, watch: Watch) -> None:
        self._require_going_on()
        known = {each.name for each in self.memory.spec.watches}
        if watch.name not in known and len(known) >= MAX_WATCHES:
            raise rejected("too_many_watches", f"an agent keeps at most {MAX_WATCHES} watches")
        if watch.currency is not None and watch.currency not in self.memory.spec.currencies:
            own = ", ".join(self.memory.spec.currencies)
            raise rejected("unknown_currency", f"this agent pays in {own}, not in {watch.currency}")

    @workflow.update
    def unwatch(self, name: str) -> None:
        """Stop keeping this data fresh; what it has queued stays."""
        self.memory.unwatch(name)
        self.news = True

    @unwatch.validator
    def _is_watched(self, name: str) -> None:
        if all(watch.name != name for watch in self.memory.spec.watches):
            raise rejected("unknown_watch", f"there is no watch {name!r}")

    @workflow.update
    def rules(self, rules: Rules) -> None:
        """Change the agent's own limits."""
        self.memory.change_rules(rules)
        self.news = True

    @rules.validator
    def _may_change_rules(self, rules: Rules) -> None:  # noqa: ARG002 (the limits of each value are its type's)
        self._require_going_on()

    @workflow.update
    async def phase(self, phase: Phase) -> None:
        """Change how much the agent may do without a person: in the ledger, where payments look, then here."""
        async with self.phase_changes:
            try:
                with named_faults():
                    await workflow.execute_local_activity_method(
                        AgentSteps.change_phase,
                        PhaseChange(agent=self.memory.spec.name, phase=phase.value),
                        start_to_close_timeout=policies.LEDGER_STEP,
                        retry_policy=policies.AGENT_RETRIES,
                        summary=f"from now on in phase {phase.value}",
                    )
            except StepFailed as failed:
                raise rejected(failed.type, failed.message) from None
            self.memory.change_phase(phase)
            self.news = True

    @phase.validator
    def _may_change_phase(self, phase: Phase) -> None:
        self._require_going_on()
        if phase == Phase.DEMO and self.memory.spec.network == Network.MAINNET:
            raise rejected("demo_on_mainnet", "an agent in phase DEMO never runs on mainnet")

    def _require_going_on(self) -> None:
        if self.memory.stopping or self.over:
            raise rejected(RefusalReason.AGENT_STOPPED.value, "the agent is stopping")

    # Queries

    @workflow.query
    def status(self) -> AgentStatus:
        """What the agent is doing, and why."""
        return report(self.memory, workflow.now(), over=self.over)

    @workflow.query
    def queue(self) -> list[QueuedRequest]:
        """What waits, next first."""
        return list(self.memory.queue)
