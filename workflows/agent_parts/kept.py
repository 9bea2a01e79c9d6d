"""`KeptAgent`: what an agent is to do, kept in the ledger, by which it can be brought back."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.agent_steps import AgentSteps
    from autopay.domain.agent.spec import SavedAgent
    from autopay.domain.agent.state.durable_state import DurableState

from workflows import policies
from workflows.durable_steps import named_faults
from workflows.releases import is_new_agent


class KeptAgent:
    """Writes its watches, rules and a person's pause to the ledger when a run begins, and after each change."""

    def __init__(self, state: DurableState) -> None:
        self._state = state
        self._saved: SavedAgent | None = None

    async def save_if_changed(self) -> None:
        """Save what has changed since the last time. Raises StepFailed."""
        now = SavedAgent(spec=self._state.spec, pause=self._state.pause)
        if now == self._saved or not is_new_agent():
            return
        with named_faults():
            await workflow.execute_local_activity_method(
                AgentSteps.save_agent,
                now,
                start_to_close_timeout=policies.LEDGER_STEP,
                retry_policy=policies.AGENT_RETRIES,
                summary=f"keep {len(now.spec.watches)} watches and the rules in the ledger",
            )
        self._saved = now
