"""What an agent shows in Temporal's lists and on its page there: its state as a search attribute, and its details."""

from datetime import datetime, timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from autopay.domain.agent.state.queue import RequestQueue
    from autopay.domain.agent.status import AgentState
    from autopay.temporal.attributes import STATE

from workflows.releases import is_new_agent

AT_ONCE = "state-shown-at-once"
"""A patch for runs of 0.2.0, since which a changed state is shown when it changes, not only after the turn's steps."""

FEW = 20
"""With so many requests in flight and waiting the page is written in every turn."""

BETWEEN_PAGES = timedelta(seconds=1)


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
        if state != (self._shown or AgentState.RUNNING) and (is_new_agent() or workflow.patched(AT_ONCE)):
            self._show(state)

    def _show(self, state: AgentState) -> None:
        self._shown = state
        workflow.upsert_search_attributes([STATE.value_set(state.value)])


class ShownPage:
    """When the page in the Temporal UI is written: it lists what is in flight and waits, and those can be hundreds."""

    def __init__(self) -> None:
        self._written_at: datetime | None = None

    def is_due(self, queue: RequestQueue, now: datetime) -> bool:
        """Whether to write it now. While much is in flight once a second is enough: a turn follows within a minute."""
        many = len(queue.in_flight) + len(queue.waiting) > FEW and bool(queue.in_flight)
        if many and self._written_at is not None and now < self._written_at + BETWEEN_PAGES:
            return False
        self._written_at = now
        return True
