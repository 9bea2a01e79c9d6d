"""A message that cannot be read fails the one handler that it was for: the workflow answers, and goes on."""

import logging
from datetime import timedelta

import pytest
from temporalio.client import WorkflowQueryFailedError

from autopay.domain.phase import Phase
from autopay.domain.request import RequestSpec
from tests.workflow.conftest import URL, World
from tests.workflow.messages import UNREADABLE, foreign, plain, query, signal, update
from tests.workflow.test_agent import launch, reach
from workflows.agent import Agent
from workflows.paid_request import PaidRequest

AGENT = "agent/tester"
SOON = timedelta(seconds=10)


async def test_signals_that_cannot_be_read_are_dropped_and_counted(
    live_world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world = live_world
    handle = await launch(world)
    dropped = 0
    with caplog.at_level(logging.WARNING):
        for name, payloads in UNREADABLE.items():
            for message in ("pause", "cancel", "notice", "notices"):
                await signal(world.client, AGENT, message, *payloads)
                status = await handle.query(Agent.status, rpc_timeout=SOON)
                dropped += 1
                assert (status.state, status.dropped) == ("running", dropped), (name, message)
    assert status.last_dropped is not None
    assert status.last_dropped.signal == "notices"
    assert "signal cancel dropped" in caplog.text
    await handle.signal(Agent.stop)
    await handle.result()


async def test_signals_without_their_value_are_dropped_and_values_that_nobody_wants_are_ignored(
    live_world: World,
) -> None:
    world = live_world
    handle = await launch(world)
    await signal(world.client, AGENT, "cancel")
    await signal(world.client, AGENT, "notice")
    await signal(world.client, AGENT, "check_balances", foreign())
    await signal(world.client, AGENT, "nobody", foreign())
    status = await handle.query(Agent.status, rpc_timeout=SOON)
    assert (status.state, status.dropped) == ("running", 2)
    await signal(world.client, AGENT, "stop", plain('"now"'))
    assert (await handle.result()).state == "stopped"


@pytest.mark.parametrize("request_id", ["", "x" * 2_000, "a b", "\n", "é" * 60, "x" * 120_000])
async def test_a_cancel_that_the_server_would_refuse_is_dropped(live_world: World, request_id: str) -> None:
    world = live_world
    handle = await launch(world)
    await handle.signal(Agent.cancel, request_id)
    status = await handle.query(Agent.status, rpc_timeout=SOON)
    assert status.dropped == 1
    await handle.signal(Agent.stop)
    await handle.result()


async def test_updates_that_cannot_be_read_are_refused_by_name(world: World) -> None:
    handle = await launch(world)
    for message in ("request", "watch", "unwatch", "rules", "phase"):
        assert await update(world.client, AGENT, message) == "wrong_arguments"
        for name, payloads in UNREADABLE.items():
            refused = await update(world.client, AGENT, message, *payloads)
            expected = "wrong_arguments" if len(payloads) > 1 else "payload_unreadable"
            assert refused == expected, (message, name)
    assert await update(world.client, AGENT, "nothing", plain("1")) is not None
    assert (await handle.query(Agent.status)).dropped == 0
    await handle.signal(Agent.stop)
    await handle.result()


async def test_a_query_is_answered_whatever_values_come_with_it(world: World) -> None:
    handle = await launch(world)
    for payloads in UNREADABLE.values():
        answer = await query(world.client, AGENT, "status", *payloads)
        assert b"encryption-key-id" in answer.SerializeToString()
    with pytest.raises(WorkflowQueryFailedError):
        await handle.query("nothing")
    await handle.signal(Agent.stop)
    await handle.result()


async def test_decisions_that_cannot_be_read_leave_the_question_open(live_world: World) -> None:
    world = live_world
    await world.ledger.agents.set_phase("tester", Phase.INTERACTIVE)
    handle = await launch(world, Phase.INTERACTIVE)
    await handle.execute_update(Agent.request, RequestSpec(request_id="asks", url=URL))
    status = await reach(world, handle, lambda status: bool(status.held), step_s=0.1)
    assert status.held[0].why == "approval"
    payment = "pay/tester/asks"
    for payloads in UNREADABLE.values():
        for message in ("approve", "deny"):
            assert await update(world.client, payment, message, *payloads) is not None
        await signal(world.client, payment, "approve", *payloads)
    async with world.ledger.database.engine.connect() as db:
        rows = await db.exec_driver_sql("SELECT terms_hash FROM approvals")
        terms = str(rows.scalar_one())
    await world.client.get_workflow_handle(payment).execute_update(PaidRequest.deny, terms)
    await reach(world, handle, lambda status: status.refused == 1, step_s=0.1)
    await handle.signal(Agent.stop)
    await handle.result()
