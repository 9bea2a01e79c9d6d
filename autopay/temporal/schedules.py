"""The schedule in Temporal that starts `Adopt`, which gives open requests whose workflow is gone a new one."""

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

CATCH_UP_WINDOW = timedelta(minutes=1)
"""Runs that were missed while Temporal was down are skipped, except those of the last minute."""

EXECUTION_TIMEOUT = timedelta(minutes=5)
"""The execution time-out, so that a run whose input no worker can open (its key is gone) does not block the next."""


async def schedule_adoption(client: Client, task_queue: str) -> None:
    """Create the schedule. One that exists stays paused or not as it is; its action is replaced when it is out of date.

    Raises:
        RPCError: Temporal does not answer, or does not allow it.
    """
    wanted, codec = _schedule(task_queue), client.data_converter.payload_codec
    try:
        await client.create_schedule(ADOPT_ID, wanted)
    except ScheduleAlreadyRunningError:
        await client.get_schedule_handle(ADOPT_ID).update(lambda known: _updated(known, wanted, codec))


def _schedule(task_queue: str) -> Schedule:
    return Schedule(
        action=ScheduleActionStartWorkflow(
            "Adopt",
            AdoptOrder(),
            id=ADOPT_ID,
            task_queue=task_queue,
            execution_timeout=EXECUTION_TIMEOUT,
            static_summary="give open requests their workflow back",
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(seconds=EVERY_S))]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=CATCH_UP_WINDOW),
    )


def _updated(known: ScheduleUpdateInput, wanted: Schedule, codec: PayloadCodec | None) -> ScheduleUpdate | None:
    """The schedule with our task queue and our input, sealed with the newest key; None when it has them already.

    A schedule outlives every key: its input must not stay sealed with a key that is to be dropped.
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
