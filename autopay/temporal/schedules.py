"""What Temporal does for us by the clock: the schedule that adopts requests whose workflow is gone."""

from datetime import timedelta

from temporalio.api.common.v1 import Payload
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
from temporalio.converter import PayloadCodec

from autopay.domain.payment.adoption import ADOPT_ID, EVERY_S, AdoptOrder
from autopay.temporal.codec import SealedPayloads

CATCH_UP = timedelta(minutes=1)
"""Runs that were missed while Temporal was down are not made up for: one is enough."""

LONGEST_RUN = timedelta(minutes=5)
"""A run that nobody can carry out (its order is sealed with a key that is gone) makes way for the next one then."""


async def schedule_adoption(client: Client, task_queue: str) -> None:
    """Create the schedule; one that exists stays as it is, paused or not, but for its task queue and an old seal.

    Raises:
        RPCError: Temporal does not answer, or does not allow it.
    """
    wanted, codec = _schedule(task_queue), client.data_converter.payload_codec
    try:
        await client.create_schedule(ADOPT_ID, wanted)
    except ScheduleAlreadyRunningError:
        await client.get_schedule_handle(ADOPT_ID).update(lambda known: _moved(known, wanted, codec))


def _schedule(task_queue: str) -> Schedule:
    return Schedule(
        action=ScheduleActionStartWorkflow(
            "Adopt",
            AdoptOrder(),
            id=ADOPT_ID,
            task_queue=task_queue,
            execution_timeout=LONGEST_RUN,
            static_summary="give open requests their workflow back",
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(seconds=EVERY_S))]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=CATCH_UP),
    )


def _moved(known: ScheduleUpdateInput, wanted: Schedule, codec: PayloadCodec | None) -> ScheduleUpdate | None:
    """The schedule with our task queue and our order, sealed with the newest key; None, no change, when it has them.

    A schedule outlives every key: what it starts with must not stay under one that is to be dropped.
    """
    schedule = known.description.schedule
    action, ours = schedule.action, wanted.action
    assert isinstance(ours, ScheduleActionStartWorkflow)
    if (
        isinstance(action, ScheduleActionStartWorkflow)
        and action.task_queue == ours.task_queue
        and action.execution_timeout == ours.execution_timeout
        and isinstance(codec, SealedPayloads)
        and all(isinstance(order, Payload) and codec.is_newest(order) for order in action.args)
    ):
        return None
    schedule.action = ours
    return ScheduleUpdate(schedule=schedule)
