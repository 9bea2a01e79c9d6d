"""An agent that was terminated, or whose workflow fails its task for ever, comes back with all that it had."""

import asyncio

import pytest
from temporalio.client import WorkflowExecutionStatus

from autopay.cli.launch.revive_steps import revive_agent
from autopay.cli.terminal.exit_codes import CommandError
from autopay.client.agents import handle as agent_handle
from autopay.client.errors import AgentNotAnswering
from autopay.domain.agent.spec import Watch
from autopay.domain.agent.state.durable_state import DurableState
from autopay.domain.agent.status import AgentState
from autopay.domain.phase import Phase
from autopay.domain.request import RequestSpec
from tests.workflow.conftest import URL, World
from tests.workflow.test_agent import RULES, Handle, launch, reach
from tests.workflow.world import PRICE
from workflows.agent import Agent

LATER = Watch(name="later", url=URL + "?later", every_s=3600)


async def saved_watches(world: World) -> int:
    saved = await world.ledger.agents.saved("tester")
    return len(saved.spec.watches) if saved else 0


async def revive(world: World, confirm: object = None) -> None:
    await revive_agent(world.ledger, world.client, "autopay", "tester", confirm)  # type: ignore[arg-type]


async def test_a_terminated_agent_comes_back_with_its_watches_rules_queue_and_pause(live_world: World) -> None:
    world = live_world
    handle = await launch(world, Phase.FULL)
    await handle.execute_update(Agent.request, RequestSpec(request_id="paid", url=URL))
    await reach(world, handle, lambda status: status.payments == 1, step_s=0.1)  # answered, and not final yet
    await handle.signal(Agent.pause, "lunch")
    await handle.execute_update(Agent.watch, LATER)
    await handle.execute_update(Agent.rules, RULES.model_copy(update={"max_in_flight": 3}))
    await handle.execute_update(Agent.request, RequestSpec(request_id="waits", url=URL, max_age_s=0))
    await reach(world, handle, lambda status: status.queued == ("waits",), step_s=0.1)
    while await saved_watches(world) == 0:  # noqa: ASYNC110 (a real server)
        await asyncio.sleep(0.05)
    with pytest.raises(CommandError, match="runs and answers"):
        await revive(world)
    await handle.terminate(reason="a test")
    await revive(world)

    again: Handle = world.client.get_workflow_handle("agent/tester")
    status = await reach(world, again, lambda status: status.queued == ("waits",), step_s=0.1)
    assert (status.state, status.reason, status.rules.max_in_flight) == (AgentState.PAUSED, "lunch", 3)
    assert [each.watch for each in status.watches] == [LATER]
    assert world.chain.spent == PRICE, "what is settling is not paid again"
    await again.execute_update(Agent.unwatch, "later")
    await again.signal(Agent.resume)
    await reach(world, again, lambda status: status.delivered == 1, step_s=0.1)
    assert world.chain.spent == 2 * PRICE
    await again.terminate(reason="the end of the test")
    assert world.chain.spent == 2 * PRICE


async def test_a_frozen_agent_is_ended_after_a_question_and_comes_back(
    live_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = live_world
    handle = await launch(world, Phase.FULL, LATER)
    await reach(world, handle, lambda status: status.delivered == 1, step_s=0.1)

    def broken(*_: object) -> None:
        raise KeyError("a bug")

    with monkeypatch.context() as bug:
        bug.setattr(DurableState, "request_balances", broken)
        await handle.signal(Agent.check_balances)
        while (await handle.describe()).raw_description.pending_workflow_task.attempt < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        bug.setattr(agent_handle, "ANSWER_TIMEOUT_S", 2)
        commands = agent_handle.AgentHandle(world.client, "tester", "autopay")
        request = commands.request(RequestSpec(request_id="late", url=URL), 2)
        for command in (commands.status(), commands.update("watch", LATER), request):
            with pytest.raises(AgentNotAnswering, match=r"its workflow failed \d+ times.*: autopay revive tester"):
                await command
        asked: list[str] = []

        def no(why: str) -> None:
            asked.append(why)
            raise CommandError("no")

        with pytest.raises(CommandError, match="no"):
            await revive(world, no)
        assert "no longer answers: its task failed" in asked[0]
        assert (await handle.describe()).status is WorkflowExecutionStatus.RUNNING
        await revive(world, asked.append)
    again: Handle = world.client.get_workflow_handle("agent/tester")
    status = await reach(world, again, lambda status: bool(status.spendable), step_s=0.1)
    assert [each.watch for each in status.watches] == [LATER]
    await again.terminate(reason="the end of the test")
    assert world.chain.spent <= 2 * PRICE
