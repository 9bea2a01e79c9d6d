"""`AgentWait`: how an agent's loop waits for a message or for its next moment, with few events in its history."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta

from temporalio import workflow

from workflows.releases import is_new_agent

MIN_WAIT = timedelta(milliseconds=200)
QUIET = timedelta(milliseconds=10)
QUIET_TRIES = 100


class AgentWait:
    """Waits until it is woken, or until a moment. A message does not cancel the timer, which is kept while it fires
    early enough: a turn that begins too early costs fewer events than a new timer for every message."""

    def __init__(self) -> None:
        self._is_awake = False
        self._timer: asyncio.Task[None] | None = None
        self._fires_at: datetime | None = None

    def wake(self) -> None:
        """Make the loop take another turn, now or as soon as it waits."""
        self._is_awake = True

    async def until(self, moment: datetime) -> None:
        """Wait until then, at least `MIN_WAIT`, or until something wakes the loop."""
        moment = max(moment, workflow.now() + MIN_WAIT)
        summary = f"until {moment:%H:%M:%S} or a message"
        if is_new_agent():
            timer = None if self._is_awake else self._timer_by(moment, summary)
            await workflow.wait_condition(lambda: self._is_awake or (timer is not None and timer.done()))
        else:
            with suppress(TimeoutError):
                await workflow.wait_condition(
                    lambda: self._is_awake, timeout=moment - workflow.now(), timeout_summary=summary
                )
        self._is_awake = False

    async def for_quiet(self, finish: Callable[[], Awaitable[None]]) -> None:
        """Return in a workflow task that brings nothing but a timer, in which the run can continue as new.

        The server refuses to end a run that got a message during its task, and the SDK then replays the whole history:
        in a task that lasts as long as that, or as a local activity, there is a next message, again and again.

        Args:
            finish: waits for what must be done before; called before each try.
        """
        for _ in range(QUIET_TRIES):
            await finish()
            self._is_awake = False
            await workflow.sleep(QUIET, summary="a moment without messages, to continue as new")
            if not self._is_awake and workflow.all_handlers_finished():
                return
        await finish()

    def _timer_by(self, moment: datetime, summary: str) -> "asyncio.Task[None]":
        """A timer that fires at that moment or before."""
        kept = self._timer
        if kept is not None and not kept.done():
            assert self._fires_at is not None
            if self._fires_at <= moment:
                return kept
            kept.cancel()
        self._fires_at = moment
        self._timer = asyncio.create_task(workflow.sleep(moment - workflow.now(), summary=summary))
        return self._timer
