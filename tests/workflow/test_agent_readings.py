"""How much history an agent makes while nothing happens, and that it buys by a reading that is not old."""

from collections import Counter
from datetime import timedelta

from temporalio.api.enums.v1 import EventType

from autopay.domain.agent.spec import Rules, Watch
from autopay.domain.agent.status import AgentState
from autopay.domain.money import Currency
from autopay.domain.phase import Phase
from autopay.domain.request import RequestSpec
from tests.workflow.conftest import URL, World
from tests.workflow.test_agent import Handle, launch, reach
from tests.workflow.world import PRICE
from workflows.agent import Agent

RULES = Rules(thresholds={Currency.USDC: 2 * PRICE})
HOUR_S = 3600


async def events_of(handle: Handle) -> Counter["EventType.ValueType"]:
    return Counter([each.event_type async for each in handle.fetch_history_events()])


async def test_an_idle_hour_costs_an_agent_few_events(world: World) -> None:
    handle = await launch(world, rules=RULES)
    await world.env.sleep(HOUR_S)
    events = await events_of(handle)
    assert events[EventType.EVENT_TYPE_TIMER_FIRED] <= 7
    assert events.total() <= 70, "725 before readings that say the same became rare"
    await handle.signal(Agent.stop)
    await handle.result()


async def test_a_purchase_after_quiet_hours_is_decided_by_a_fresh_reading(world: World) -> None:
    watch = Watch(name="feed", url=URL, every_s=2 * HOUR_S)
    handle = await launch(world, Phase.FULL, watch, rules=RULES)
    status = await reach(world, handle, lambda status: status.delivered == 1 and not status.settling)
    due = status.watches[0].next_due
    assert due is not None
    await world.env.sleep(due - await world.env.get_current_time() - timedelta(seconds=2))
    world.chain.funds = PRICE  # it was spent elsewhere, and nobody said so
    status = await reach(world, handle, lambda status: status.state == AgentState.PAUSED, step_s=1)
    assert (status.payments, status.refused) == (1, 0), "it did not try to buy what it cannot pay"
    await handle.signal(Agent.stop)
    await handle.result()


async def test_an_agent_that_is_resumed_after_hours_buys_by_a_fresh_reading(world: World) -> None:
    handle = await launch(world, Phase.FULL, rules=RULES)
    await reach(world, handle, lambda status: bool(status.spendable))
    await handle.signal(Agent.pause, "over night")
    await world.env.sleep(HOUR_S)
    await handle.execute_update(Agent.request, RequestSpec(request_id="morning", url=URL))
    world.chain.funds = PRICE - 1  # it was spent elsewhere, and nobody said so
    await handle.signal(Agent.resume)
    status = await reach(world, handle, lambda status: status.state == AgentState.PAUSED, step_s=1)
    assert status.queued == ("morning",), "it did not try to buy what it cannot pay"
    await handle.signal(Agent.stop)
    assert (await handle.result()).refused == 0
