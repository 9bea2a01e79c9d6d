"""`Fetch`, for another team's workflow: it waits for long on few events, and is canceled when nobody would end it."""

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError, CancelledError

from autopay.domain.agent.spec import AgentSpec
from autopay.domain.phase import Phase
from autopay.domain.request import RequestSpec, x402_request_id
from autopay.temporal import Fetched, FetchInput
from autopay.temporal.nexus.contract import WORKFLOW, WORKFLOW_PREFIX
from tests.workflow.conftest import URL, World
from tests.workflow.test_agent import launch
from workflows.agent import Agent

WANTED = FetchInput(url=URL, id="r1", agent="tester")
LONG_S = 600
SIGNALED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED


async def fetch(world: World, wanted: Any) -> WorkflowHandle[Any, Fetched]:
    """Start it as a caller in the same namespace does."""
    workflow_id = f"{WORKFLOW_PREFIX}r1"
    world.started.add(workflow_id)
    return await world.client.start_workflow(
        WORKFLOW, wanted, id=workflow_id, task_queue="autopay", result_type=Fetched
    )


async def test_a_request_that_waits_for_long_is_looked_at_once_a_minute_and_delivered(world: World) -> None:
    agent = await launch(world)
    await agent.signal(Agent.pause, "over night")
    handle = await fetch(world, WANTED)
    await world.env.sleep(LONG_S)
    events = Counter([each.event_type async for each in handle.fetch_history_events()])
    assert 9 <= events[EventType.EVENT_TYPE_TIMER_FIRED] <= 14
    await agent.signal(Agent.resume)
    fetched = await handle.result()
    assert (fetched.status, fetched.price, fetched.json()) == ("delivered", "0.001000", {"data": 42})
    assert len(world.seller.paid) == 1
    await agent.signal(Agent.stop)
    await agent.result()


async def test_a_fetch_stays_with_its_agent_when_a_worker_would_choose_another_one_by_now(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.purchases, "_agents", ("tester", "another"))
    agent = await launch(world)
    await agent.signal(Agent.pause, "over night")
    handle = await fetch(world, replace(WANTED, agent=None))
    await world.env.sleep(60)
    monkeypatch.setattr(world.purchases, "_agents", ("another", "tester"))
    await world.env.sleep(120)
    await agent.signal(Agent.resume)
    fetched = await handle.result()
    assert (fetched.status, fetched.agent) == ("delivered", "tester")
    assert len(world.seller.paid) == 1
    await agent.signal(Agent.stop)
    await agent.result()


async def test_a_cancel_ends_it_when_the_agent_is_gone(world: World) -> None:
    agent = await launch(world)
    await agent.signal(Agent.pause, "over night")
    handle = await fetch(world, WANTED)
    await world.env.sleep(60)
    await agent.terminate("by mistake")
    await handle.cancel()
    with pytest.raises(WorkflowFailureError) as failed:
        await handle.result()
    assert isinstance(failed.value.cause, CancelledError)
    assert not (await world.ledger.requests.get(x402_request_id("tester", "r1"))).closed, "its next agent has it"
    assert world.seller.paid == []


async def test_a_cancel_ends_it_when_the_agent_has_taken_the_cancel_and_is_gone_then(world: World) -> None:
    await world.ledger.requests.accept("tester", RequestSpec(request_id="r1", url=URL), 1.0, 10)
    spec = AgentSpec(name="tester", phase=Phase.FULL)
    agent = await world.client.start_workflow(Agent.run, spec, id="agent/tester", task_queue="without-a-worker")
    handle = await fetch(world, WANTED)
    await handle.cancel()
    await until_signaled(agent)
    await agent.terminate("by mistake")
    async with asyncio.timeout(20):
        with pytest.raises(WorkflowFailureError) as failed:
            await handle.result()
    assert isinstance(failed.value.cause, CancelledError)
    assert not (await world.ledger.requests.get(x402_request_id("tester", "r1"))).closed, "its next agent has it"


async def until_signaled(handle: WorkflowHandle[Any, Any]) -> None:
    """Until a message has come in, which nobody takes."""
    for _ in range(400):
        if [each async for each in handle.fetch_history_events() if each.event_type == SIGNALED]:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("no message has come")


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        pytest.param(FetchInput(url=URL, agent="tester"), "has no id", id="no-id"),
        pytest.param(FetchInput(url="http://[", id="r1"), "Invalid IPv6 URL", id="no-url"),
        pytest.param({"url": 7}, "cannot be read", id="of-another-shape"),
    ],
)
async def test_what_another_program_starts_in_the_wrong_way_fails_at_once_by_name(
    world: World, wanted: Any, says: str
) -> None:
    handle = await fetch(world, wanted)
    with pytest.raises(WorkflowFailureError) as failed:
        await handle.result()
    cause = failed.value.cause
    assert isinstance(cause, ApplicationError)
    assert says in cause.message
    assert cause.type in ("invalid_request", "payload_unreadable")
