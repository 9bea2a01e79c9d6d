"""`Agent` on the time-skipping server: watches, one-off requests, pauses, limits and the end."""

from collections.abc import Callable

import pytest
from temporalio.client import WorkflowHandle, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from autopay.domain.agent.spec import AgentSpec, Rules, Watch
from autopay.domain.agent.status import AgentState, AgentStatus
from autopay.domain.money import Currency
from autopay.domain.phase import Phase
from autopay.domain.request import RequestSpec
from tests.workflow.conftest import URL, World
from tests.workflow.world import PRICE
from workflows.agent import Agent

Handle = WorkflowHandle[Agent, AgentStatus]

RULES = Rules(thresholds={Currency.USDC: 2 * PRICE}, balance_every_s=600)
WATCH = Watch(name="feed", url=URL, every_s=60)


async def launch(world: World, phase: Phase = Phase.FULL, *watches: Watch, rules: Rules = RULES) -> Handle:
    spec = AgentSpec(name="tester", phase=phase, watches=watches, rules=rules)
    return await world.client.start_workflow(Agent.run, spec, id="agent/tester", task_queue="autopay")


async def reach(world: World, handle: Handle, what: Callable[[AgentStatus], bool], step_s: float = 20) -> AgentStatus:
    """Let virtual time pass until the agent's status is so."""
    for _ in range(360):
        status = await handle.query(Agent.status)
        if what(status):
            return status
        await world.env.sleep(step_s)
    raise AssertionError(f"not reached: {status}")


async def test_a_watch_is_bought_again_when_its_window_has_passed(world: World) -> None:
    handle = await launch(world, Phase.FULL, WATCH)
    status = await reach(world, handle, lambda status: status.delivered >= 5)
    assert status.spent_atomic == {Currency.USDC: 5 * PRICE}
    await handle.signal(Agent.stop)
    ended = await handle.result()
    assert ended.state == AgentState.STOPPED
    assert world.chain.spent == ended.spent_atomic[Currency.USDC]
    assert (await world.ledger.reports.spent("tester"))[Currency.USDC] == world.chain.spent


async def test_a_paused_agent_starts_nothing_until_it_is_resumed(world: World) -> None:
    handle = await launch(world, Phase.FULL, WATCH)
    await reach(world, handle, lambda status: status.delivered == 1)
    await handle.signal(Agent.pause, "lunch")
    await world.env.sleep(3600)
    status = await handle.query(Agent.status)
    assert (status.state, status.reason, status.delivered) == (AgentState.PAUSED, "lunch", 1)
    await handle.signal(Agent.resume)
    await reach(world, handle, lambda status: status.delivered == 2)
    await handle.signal(Agent.stop)
    await handle.result()


async def test_a_demo_agent_stops_by_itself_after_three_payments(world: World) -> None:
    handle = await launch(world, Phase.DEMO, WATCH)
    ended = await handle.result()
    assert ended.payments == 3
    assert world.chain.spent == 3 * PRICE


async def test_an_agent_short_of_money_pauses_and_resumes_by_itself_when_topped_up(world: World) -> None:
    world.chain.funds = 4 * PRICE
    handle = await launch(world, Phase.FULL, WATCH)
    status = await reach(world, handle, lambda status: status.state == AgentState.PAUSED)
    assert status.reason is not None
    assert "0.001 USDC spendable (balance), 0.002 USDC needed" in status.reason
    assert status.payments == 3
    world.chain.funds = 10 * PRICE
    await reach(world, handle, lambda status: status.payments >= 5)
    await handle.signal(Agent.stop)
    await handle.result()


async def test_the_same_request_twice_is_one_payment(world: World) -> None:
    handle = await launch(world)
    spec = RequestSpec(request_id="once", url=URL)
    first = await handle.execute_update(Agent.request, spec)
    again = await handle.execute_update(Agent.request, spec)
    assert again.workflow_id == first.workflow_id
    await reach(world, handle, lambda status: status.delivered == 1 and not status.settling)
    await handle.execute_update(Agent.request, spec)
    await handle.signal(Agent.stop)
    await handle.result()
    assert world.chain.spent == PRICE


async def test_a_known_id_with_other_terms_is_refused_by_name(world: World) -> None:
    handle = await launch(world)
    await handle.execute_update(Agent.request, RequestSpec(request_id="k", url=URL))
    await reach(world, handle, lambda status: status.delivered == 1 and not status.settling)
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await handle.execute_update(Agent.request, RequestSpec(request_id="k", url=URL + "?other"))
    assert isinstance(refused.value.cause, ApplicationError)
    assert refused.value.cause.type == "terms_differ"
    await handle.signal(Agent.stop)
    await handle.result()


async def test_a_stopping_agent_takes_no_request(world: World) -> None:
    handle = await launch(world, Phase.FULL, WATCH)
    await reach(world, handle, lambda status: status.delivered == 1 and bool(status.settling), step_s=1)
    world.chain.away = True  # so that it is still draining when it is asked
    await handle.signal(Agent.stop)
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await handle.execute_update(Agent.request, RequestSpec(request_id="late", url=URL))
    assert isinstance(refused.value.cause, ApplicationError)
    assert refused.value.cause.type == "agent_stopped"
    world.chain.away = False
    await handle.result()


async def test_watches_and_rules_change_while_it_runs(world: World) -> None:
    handle = await launch(world)
    await handle.execute_update(Agent.watch, WATCH)
    await reach(world, handle, lambda status: status.delivered == 1)
    await handle.execute_update(Agent.rules, RULES.model_copy(update={"max_in_flight": 1}))
    await handle.execute_update(Agent.unwatch, "feed")
    await world.env.sleep(600)
    status = await handle.query(Agent.status)
    assert (status.delivered, status.watches) == (1, ())
    with pytest.raises(WorkflowUpdateFailedError):
        await handle.execute_update(Agent.unwatch, "feed")
    await handle.signal(Agent.stop)
    await handle.result()


async def test_a_canceled_request_that_waits_is_never_paid(world: World) -> None:
    handle = await launch(world)
    await handle.signal(Agent.pause)
    await handle.execute_update(Agent.request, RequestSpec(request_id="unwanted", url=URL))
    await handle.signal(Agent.cancel, "unwanted")
    await handle.signal(Agent.resume)
    status = await reach(world, handle, lambda status: status.refused == 1)
    assert status.last[0].message == "canceled before anything was paid"
    await handle.signal(Agent.stop)
    await handle.result()
    assert world.chain.spent == 0


async def test_more_than_the_session_allows_is_refused_and_pauses_the_agent(world: World) -> None:
    world.chain.funds = 100 * PRICE
    handle = await launch(world, Phase.FULL, Watch(name="fast", url=URL, every_s=30))
    status = await reach(world, handle, lambda status: status.state == AgentState.PAUSED)
    assert status.reason is not None
    assert "limited to 12 payments" in status.reason
    assert world.chain.spent == 12 * PRICE
    await handle.signal(Agent.stop)
    await handle.result()


async def test_a_canceled_agent_stops_and_drains(world: World) -> None:
    handle = await launch(world, Phase.FULL, WATCH)
    await reach(world, handle, lambda status: bool(status.in_flight or status.settling), step_s=0.5)
    await handle.cancel()
    ended = await handle.result()
    assert (ended.state, ended.settling) == (AgentState.STOPPED, ())
    assert world.chain.spent == PRICE
