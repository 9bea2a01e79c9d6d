"""An agent that runs and runs: days of purchases through many new runs.

The test server cannot have a worker replaced (what was scheduled for the old one waits for ever, with time standing
still): every history is replayed at the end instead, and workers are killed in the chaos tests, on a real server.
"""

from datetime import timedelta

from autopay.domain.agent.spec import AgentSpec, Rules, Watch
from autopay.domain.agent.status import AgentState
from autopay.domain.money import Currency
from autopay.domain.phase import Phase
from autopay.domain.request import RequestStatus
from tests.workflow.conftest import URL, World
from tests.workflow.test_agent_messages import runs
from tests.workflow.world import PRICE, agent_with_session
from workflows.agent import Agent

DAYS, A_DAY = 4, 8
HISTORY = 200
RULES = Rules(thresholds={Currency.USDC: 2 * PRICE}, balance_every_s=21_600, history_events=HISTORY)


async def test_days_of_purchases_end_accounted_for_with_small_histories(world: World) -> None:
    await agent_with_session(world.ledger, world.vault, world.chain, "week", tx_limit=1000)
    watch = Watch(name="feed", url=URL, every_s=86_400 // A_DAY)
    spec = AgentSpec(name="week", phase=Phase.FULL, watches=(watch,), rules=RULES)
    handle = await world.client.start_workflow(Agent.run, spec, id="agent/week", task_queue="autopay")
    for _ in range(DAYS * 4):
        await world.env.sleep(timedelta(hours=6))
        assert (await handle.query(Agent.status)).state == AgentState.RUNNING
    await handle.signal(Agent.stop)
    ended = await handle.result()
    assert DAYS * A_DAY - 3 <= ended.payments <= DAYS * A_DAY + 1
    assert (ended.delivered, ended.failed, ended.refused) == (ended.payments, 0, 0)
    assert ended.spent_atomic == {Currency.USDC: ended.payments * PRICE}
    assert world.chain.spent == ended.payments * PRICE == (await world.ledger.reports.spent("week"))[Currency.USDC]
    assert {notice.status for notice in ended.last} == {RequestStatus.DELIVERED}
    histories = await runs(world, "week")
    assert len(histories) >= DAYS
    assert max(histories) < 2 * HISTORY
    world.started |= {
        "agent/week",
        *(f"pay/week/{row.request_id}" for row in (await world.ledger.reports.timeline("week"))[:3]),
    }


async def test_the_page_says_all_that_a_continued_run_has_lost_of_its_summary(world: World) -> None:
    small = RULES.model_copy(update={"history_events": 200})
    spec = AgentSpec(name="tester", phase=Phase.FULL, watches=(Watch(name="w", url=URL, every_s=600),), rules=small)
    world.seller.free = True
    handle = await world.client.start_workflow(Agent.run, spec, id="agent/tester", task_queue="autopay")
    while len(await runs(world)) < 2:
        await world.env.sleep(600)
    details = await handle.query("__temporal_workflow_metadata")
    assert "agent tester, phase FULL" in str(details)
    await handle.signal(Agent.stop)
    await handle.result()
