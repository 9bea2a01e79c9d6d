"""The schedules of the ledger's upkeep on a real development server: begun, changed, removed; and what a run tells."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta

import pytest
from temporalio.client import Client, ScheduleActionStartWorkflow, WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from activities.upkeep import UpkeepStep, Work
from autopay.adapters.postgres import PostgresLedger
from autopay.cli.upkeep.run import make_upkeep_worker
from autopay.domain.access.records import ActionRecord
from autopay.domain.errors import WrongNetwork
from autopay.domain.upkeep import Duty, UpkeepOrder, UpkeepResult
from autopay.temporal.converter import data_converter
from autopay.temporal.schedules import schedule_upkeep, upkeep_id
from tests.workflow.conftest import KEYRING
from workflows.policies import UPKEEP
from workflows.upkeep import FOUND_WRONG, Upkeep

QUEUE = f"autopay{UPKEEP}"
HOUR = 3600


def duties(said: list[UpkeepOrder]) -> Mapping[Duty, Work]:
    """A reconcile that agrees, a verify that finds something, and an anchor that cannot be."""

    async def reconcile(order: UpkeepOrder) -> UpkeepResult:
        said.append(order)
        return UpkeepResult(duty=order.duty, ok=True, summary="they agree", figures={"payments": 7})

    async def verify(order: UpkeepOrder) -> UpkeepResult:
        return UpkeepResult(duty=order.duty, ok=False, summary="1 thing does not fit")

    async def anchor(order: UpkeepOrder) -> UpkeepResult:
        raise WrongNetwork("it is another")

    async def prune(order: UpkeepOrder) -> UpkeepResult:
        said.append(order)
        return UpkeepResult(duty=order.duty, ok=True, summary="nothing was old")

    return {Duty.RECONCILE: reconcile, Duty.VERIFY: verify, Duty.ANCHOR: anchor, Duty.PRUNE: prune}


async def scheduled(client: Client) -> dict[Duty, timedelta]:
    """How often each duty is begun."""
    found = {}
    for duty in Duty:
        try:
            known = await client.get_schedule_handle(upkeep_id(duty)).describe()
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            continue
        found[duty] = known.schedule.spec.intervals[0].every
    return found


async def run_of(client: Client, duty: Duty) -> str:
    """The id of the workflow that its schedule has begun."""
    async with asyncio.timeout(60):
        while True:
            info = (await client.get_schedule_handle(upkeep_id(duty)).describe()).info
            if info.recent_actions:
                return str(info.recent_actions[0].action.workflow_id)  # type: ignore[attr-defined]


async def newest(ledger: PostgresLedger) -> dict[str, ActionRecord]:
    return {each.action: each for each in await ledger.operator_actions.newest()}


async def test_schedules_follow_the_settings_and_each_run_is_told_in_the_ledger(
    live_env: WorkflowEnvironment, ledger: PostgresLedger
) -> None:
    client, said = live_env.client, list[UpkeepOrder]()
    step = UpkeepStep(duties(said), ledger.operator_actions, tries=5)
    async with make_upkeep_worker(client, "autopay", step):
        every = {Duty.RECONCILE: HOUR, Duty.VERIFY: 24 * HOUR, Duty.ANCHOR: HOUR, Duty.PRUNE: HOUR}
        await schedule_upkeep(client, QUEUE, every, keep_content_s=HOUR)
        assert await scheduled(client) == {duty: timedelta(seconds=seconds) for duty, seconds in every.items()}
        for duty in (Duty.PRUNE, Duty.RECONCILE):
            await client.get_workflow_handle(await run_of(client, duty)).result()
        assert UpkeepOrder(duty=Duty.RECONCILE) in said
        assert UpkeepOrder(duty=Duty.PRUNE, keep_content_s=HOUR) in said
        wrong = client.get_workflow_handle(await run_of(client, Duty.VERIFY))
        with pytest.raises(WorkflowFailureError) as failed:
            await wrong.result()
        assert isinstance(failed.value.cause, ApplicationError)
        assert failed.value.cause.type == FOUND_WRONG
        with pytest.raises(WorkflowFailureError):
            await client.get_workflow_handle(await run_of(client, Duty.ANCHOR)).result()
        await the_schedules_change(client)
    told = await newest(ledger)
    assert {name: each.outcome for name, each in told.items()} == {
        "reconcile": "done",
        "verify": "failed",
        "anchor": "failed",
        "prune": "done",
    }
    assert told["reconcile"].details == {"summary": "they agree", "payments": 7}
    assert told["verify"].error == "1 thing does not fit"
    assert told["anchor"].error == f"could not be done: {WrongNetwork('it is another')}"
    assert {(each.actor, each.via, each.agent) for each in told.values()} == {("schedule", "schedule", None)}
    replayer = Replayer(
        workflows=[Upkeep], data_converter=data_converter(KEYRING), workflow_runner=SandboxedWorkflowRunner()
    )
    await replayer.replay_workflow(await wrong.fetch_history())


async def the_schedules_change(client: Client) -> None:
    """What is set anew is changed, a person's pause stays, and what is set no more is removed."""
    await client.get_schedule_handle(upkeep_id(Duty.VERIFY)).pause(note="by a person")
    await schedule_upkeep(client, QUEUE, {Duty.RECONCILE: HOUR, Duty.VERIFY: HOUR})
    assert await scheduled(client) == {Duty.RECONCILE: timedelta(hours=1), Duty.VERIFY: timedelta(hours=1)}
    paused = (await client.get_schedule_handle(upkeep_id(Duty.VERIFY)).describe()).schedule
    assert paused.state.paused
    assert isinstance(paused.action, ScheduleActionStartWorkflow)
    assert paused.action.task_queue == QUEUE
    await schedule_upkeep(client, QUEUE, {})
    assert await scheduled(client) == {}
