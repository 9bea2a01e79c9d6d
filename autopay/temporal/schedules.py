"""The schedules in Temporal: `Adopt`, which gives open requests whose workflow is gone a new one, and the upkeep."""

from collections.abc import Mapping
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
from temporalio.service import RPCError, RPCStatusCode

from autopay.domain.payment.adoption import ADOPT_ID, EVERY_S, AdoptOrder
from autopay.domain.upkeep import Duty, UpkeepOrder
from autopay.temporal.codec import SealedPayloads

CATCH_UP_WINDOW = timedelta(minutes=1)
"""Runs that were missed while Temporal was down are skipped, except those of the last minute."""

EXECUTION_TIMEOUT = timedelta(minutes=5)
"""The execution time-out, so that a run whose input no worker can open (its key is gone) does not block the next."""

UPKEEP_TIMEOUT = timedelta(days=1)
"""The same, for upkeep: also while no worker is there for it."""


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


async def schedule_upkeep(
    client: Client, task_queue: str, every_s: Mapping[Duty, int], *, keep_content_s: int | None = None
) -> None:
    """Have Temporal start each of these duties so often, and no other. A new one begins at once; one that exists stays
    paused or not as it is.

    Args:
        client: of the namespace where they are.
        task_queue: that of the upkeep's worker.
        every_s: seconds between two runs; a duty that is missing here has no schedule any more.
        keep_content_s: for the prune.

    Raises:
        RPCError: Temporal does not answer, or does not allow it.
    """
    for duty in Duty:
        handle = client.get_schedule_handle(upkeep_id(duty))
        if duty not in every_s:
            try:
                await handle.delete()
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise
            continue
        kept = keep_content_s if duty is Duty.PRUNE else None
        wanted = _upkeep(task_queue, UpkeepOrder(duty=duty, keep_content_s=kept), timedelta(seconds=every_s[duty]))
        try:
            await client.create_schedule(upkeep_id(duty), wanted, trigger_immediately=True)
        except ScheduleAlreadyRunningError:
            await handle.update(lambda known, wanted=wanted: _replaced(known, wanted))  # type: ignore[misc]


def upkeep_id(duty: Duty) -> str:
    """The id of the duty's schedule, and the beginning of its workflows' ids."""
    return f"autopay-{duty}"


def _upkeep(task_queue: str, order: UpkeepOrder, every: timedelta) -> Schedule:
    return Schedule(
        action=ScheduleActionStartWorkflow(
            "Upkeep",
            order,
            id=upkeep_id(order.duty),
            task_queue=task_queue,
            execution_timeout=UPKEEP_TIMEOUT,
            static_summary=f"{order.duty} by schedule",
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=every)]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=every),
    )


def _replaced(known: ScheduleUpdateInput, wanted: Schedule) -> ScheduleUpdate:
    """All of it but whether a person has paused it; its input is sealed with the newest key by that."""
    wanted.state = known.description.schedule.state
    return ScheduleUpdate(schedule=wanted)


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
