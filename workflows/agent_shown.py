"""`ShownState`: an agent's state as a search attribute, by which lists of agents tell it without asking."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from autopay.domain.agent.status import AgentState
    from autopay.temporal.attributes import STATE

AT_ONCE = "state-shown-at-once"
"""The patch since which a changed state is shown when it changes, and not only after the steps of the turn."""


class ShownState:
    """What the search attribute says; a run begins with what `launch` or the run before has set."""

    def __init__(self) -> None:
        self._shown: AgentState | None = None

    def update(self, state: AgentState) -> None:
        """Show this state, at the end of a turn."""
        if state != self._shown:
            self._show(state)

    def update_at_once(self, state: AgentState) -> None:
        """Show this state as soon as a message has changed it: a step of the loop may take long, or hang."""
        if state != (self._shown or AgentState.RUNNING) and workflow.patched(AT_ONCE):
            self._show(state)

    def _show(self, state: AgentState) -> None:
        self._shown = state
        workflow.upsert_search_attributes([STATE.value_set(state.value)])
