"""Messages to an `Agent`: at any moment, also before it has read the ledger and between two runs; nothing is lost."""

import asyncio
from collections.abc import Callable

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from autopay.domain.agent.spec import MAX_WATCHES, AgentSpec, Rules, Watch
from autopay.domain.agent.status import AgentState, AgentStatus
from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.phase import Phase
from autopay.domain.request import RequestSpec
from tests.workflow.conftest import URL, World
from tests.workflow.test_agent import RULES, WATCH, launch, reach
from tests.workflow.world import PRICE
from workflows.agent import Agent

SMALL = RULES.model_copy(update={"history_events": 200, "balance_every_s": 60})
"""A run every few minutes."""

WAVES = 14


async def refusal(update: object) -> str:
    """The stable name of why an update was rejected."""
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await update  # type: ignore[misc]
    assert isinstance(refused.value.cause, ApplicationError)
    return refused.value.cause.type or ""


async def runs(world: World, agent: str = "tester") -> list[int]:
    """The length of each run's history, the newest first."""
    lengths, run_id = [], ""
    while True:
        handle = world.client.get_workflow_handle(f"agent/{agent}", run_id=run_id or None)
        history = await handle.fetch_history()
        lengths.append(len(history.events))
        run_id = history.events[0].workflow_execution_started_event_attributes.continued_execution_run_id
        if not run_id:
            return lengths


async def test_each_message_says_clearly_what_it_does_not_take(world: World) -> None:
    spec = AgentSpec(name="tester", phase=Phase.FULL, network=Network.MAINNET, rules=RULES)
    handle = await world.client.start_workflow(Agent.run, spec, id="agent/tester", task_queue="autopay")
    update = handle.execute_update
    cash = Watch(name="cash", url=URL, every_s=60, currency=Currency.CASH)
    assert await refusal(update(Agent.watch, cash)) == "unknown_currency"
    assert await refusal(update(Agent.unwatch, "none")) == "unknown_watch"
    assert await refusal(update(Agent.phase, Phase.DEMO)) == "demo_on_mainnet"
    wrong = RULES.model_dump() | {"thresholds": {"USDC": -1}}
    with pytest.raises(WorkflowUpdateFailedError):
        await update("rules", wrong)
    await update(Agent.rules, RULES.model_copy(update={"queue_limit": 1}))
    await handle.signal(Agent.pause)
    await update(Agent.request, RequestSpec(request_id="one", url=URL))
    assert await refusal(update(Agent.request, RequestSpec(request_id="two", url=URL))) == "queue_full"
    status = await handle.query(Agent.status)
    assert (status.watches, status.phase, status.queued) == ((), Phase.FULL, ("one",))
    await handle.signal(Agent.stop)
    await handle.result()


async def test_an_agent_keeps_so_many_watches_and_no_more(world: World) -> None:
    watches = [Watch(name=f"w{number}", url=f"{URL}?{number}", every_s=3600) for number in range(MAX_WATCHES)]
    handle = await launch(world, Phase.FULL)
    await handle.signal(Agent.pause)
    await handle.signal(Agent.stop)
    await handle.result()
    spec = AgentSpec(name="tester", phase=Phase.FULL, rules=RULES, watches=tuple(watches))
    handle = await world.client.start_workflow(Agent.run, spec, id="agent/tester", task_queue="autopay")
    await handle.signal(Agent.pause)
    assert await refusal(handle.execute_update(Agent.watch, WATCH)) == "too_many_watches"
    await handle.execute_update(Agent.watch, watches[0].model_copy(update={"every_s": 5}))
    await handle.signal(Agent.stop)
    await handle.result()


async def test_the_phase_changes_while_it_runs_in_the_ledger_too(world: World) -> None:
    handle = await launch(world, Phase.FULL)
    await handle.execute_update(Agent.phase, Phase.INTERACTIVE)
    assert (await world.ledger.agents.get("tester")).phase == Phase.INTERACTIVE
    await handle.execute_update(Agent.request, RequestSpec(request_id="asks", url=URL))
    await reach(world, handle, lambda status: len(status.held) == 1, step_s=1)
    await handle.signal(Agent.cancel, "asks")
    await reach(world, handle, lambda status: status.refused == 1, step_s=1)
    await handle.execute_update(Agent.phase, Phase.DEMO)
    await handle.execute_update(Agent.watch, WATCH)
    ended = await handle.result()
    assert (ended.payments, ended.phase) == (3, Phase.DEMO)
    assert world.chain.spent == 3 * PRICE


async def test_signals_that_come_before_the_ledger_was_read_are_kept(world: World) -> None:
    spec = AgentSpec(name="tester", phase=Phase.FULL, watches=(WATCH,), rules=RULES)
    handle = await world.client.start_workflow(
        Agent.run,
        spec,
        id="agent/tester",
        task_queue="autopay",
        start_signal="pause",
        start_signal_args=["from the start"],
    )
    await handle.execute_update(Agent.request, RequestSpec(request_id="waits", url=URL))
    status = await handle.query(Agent.status)
    assert (status.state, status.reason, status.queued) == (AgentState.PAUSED, "from the start", ("waits",))
    await handle.signal(Agent.cancel, "waits")
    await handle.signal(Agent.stop)
    ended = await handle.result()
    assert ended.refused == 1, "canceled before it ended, and so not started by the next agent of that name"
    assert world.chain.spent == 0


def more_than(delivered: int) -> Callable[[AgentStatus], bool]:
    """Whether so many requests and one more are delivered."""
    return lambda status: status.delivered > delivered


async def test_messages_around_new_runs_are_neither_lost_nor_doubled(live_world: World) -> None:
    world = live_world
    handle = await launch(world, Phase.FULL, rules=SMALL.model_copy(update={"max_in_flight": 3}))
    world.seller.free = True
    for wave in range(WAVES):
        specs = [RequestSpec(request_id=f"r{wave}-{number}", url=f"{URL}?{wave}-{number}") for number in range(6)]
        await asyncio.gather(*(handle.execute_update(Agent.request, spec) for spec in specs))
        await handle.signal(Agent.pause, f"wave {wave}")
        await handle.signal(Agent.resume)
        await reach(world, handle, more_than(6 * wave), step_s=0.05)
    status = await reach(world, handle, lambda status: status.delivered == 6 * WAVES, step_s=0.2)
    assert (status.queued, status.in_flight) == ((), ())
    histories = await runs(world)
    assert len(histories) >= 2  # each waits for a moment without messages
    assert max(histories) < 3 * SMALL.history_events
    await handle.execute_update(Agent.rules, Rules.model_validate(SMALL.model_dump() | {"max_in_flight": 5}))
    await handle.signal(Agent.stop)
    ended = await handle.result()
    assert ended.delivered == 6 * WAVES
    assert sorted(world.seller.asked) == sorted(f"{URL}?{wave}-{n}" for wave in range(WAVES) for n in range(6))
