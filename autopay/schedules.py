"""What Temporal does for us by the clock: the schedule that adopts requests whose workflow is gone."""

from datetime import timedelta

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)

from autopay.domain.adoption import ADOPT_ID, EVERY_S, AdoptOrder

CATCH_UP = timedelta(minutes=1)
"""Runs that were missed while Temporal was down are not made up for: one is enough."""


async def schedule_adoption(client: Client, task_queue: str) -> None:
    """Create the schedule; one that exists stays as it is, paused or not, but for its task queue.

    Raises:
        RPCError: Temporal does not answer, or does not allow it.
    """
    wanted = _schedule(task_queue)
    try:
        await client.create_schedule(ADOPT_ID, wanted)
    except ScheduleAlreadyRunningError:
        await client.get_schedule_handle(ADOPT_ID).update(lambda known: _moved(known, wanted))


def _schedule(task_queue: str) -> Schedule:
    return Schedule(
        action=ScheduleActionStartWorkflow(
            "Adopt",
            AdoptOrder(),
            id=ADOPT_ID,
            task_queue=task_queue,
            static_summary="give open requests their workflow back",
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(seconds=EVERY_S))]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=CATCH_UP),
    )


def _moved(known: ScheduleUpdateInput, wanted: Schedule) -> ScheduleUpdate | None:
    """The schedule with our task queue; None, no change, when it has it."""
    schedule = known.description.schedule
    action, ours = schedule.action, wanted.action
    assert isinstance(ours, ScheduleActionStartWorkflow)
    if isinstance(action, ScheduleActionStartWorkflow) and action.task_queue == ours.task_queue:
        return None
    schedule.action = ours
    return ScheduleUpdate(schedule=schedule)
