"""Many requests at once through one agent: few events in its history, and nothing that is lost for good."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio.service import RPCError, RPCStatusCode

from activities import start_payments
from activities.notices import NoticeOutbox
from autopay.domain.agent.state.queue import LEDGER_CHECK
from autopay.domain.request import RequestSpec
from autopay.temporal.payments import start_payment
from tests.workflow.conftest import URL, World
from tests.workflow.test_agent import RULES, launch, reach
from tests.workflow.world import PRICE
from workflows.agent import Agent

MANY = 64
EVENTS_EACH = 4
"""Two are of the update itself; the rest is shared by what comes together."""

BUSY = RULES.model_copy(update={"max_in_flight": 100})


async def test_many_requests_at_once_cost_the_agent_few_events_each(live_world: World) -> None:
    world = live_world
    world.seller.free = True
    handle = await launch(world, rules=BUSY)
    await handle.execute_update(Agent.request, RequestSpec(request_id="first", url=URL))
    await reach(world, handle, lambda status: status.delivered == 1, step_s=0.05)
    before = (await handle.describe()).history_length
    specs = [RequestSpec(request_id=f"r{number}", url=f"{URL}?{number}") for number in range(MANY)]
    await asyncio.gather(*(handle.execute_update(Agent.request, spec) for spec in specs))
    await reach(world, handle, lambda status: status.delivered == 1 + MANY, step_s=0.1)
    events = (await handle.describe()).history_length - before
    assert events <= EVENTS_EACH * MANY
    await handle.signal(Agent.stop)
    await handle.result()
    # A free answer may be asked for twice: a workflow task that takes too long runs its local steps again.
    assert set(world.seller.asked[1:]) == {spec.url for spec in specs}


async def test_an_agent_that_stops_ends_although_the_last_notices_are_lost(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NoticeOutbox, "put", lambda *_: None)
    handle = await launch(world)
    await handle.execute_update(Agent.request, RequestSpec(request_id="once", url=URL))
    began = await world.env.get_current_time()
    await handle.signal(Agent.stop)
    assert (await handle.result()).delivered == 1
    ended = (await handle.describe()).close_time  # the server's clock runs on when all have ended
    assert ended is not None
    assert ended - began <= 2 * LEDGER_CHECK + timedelta(seconds=20)


async def test_notices_that_are_lost_are_found_in_the_ledger(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NoticeOutbox, "put", lambda *_: None)
    handle = await launch(world)
    began = await world.env.get_current_time()
    await handle.execute_update(Agent.request, RequestSpec(request_id="once", url=URL))
    await reach(world, handle, lambda status: status.delivered == 1, step_s=5)
    assert await world.env.get_current_time() - began <= 2 * LEDGER_CHECK + timedelta(seconds=20)
    await handle.signal(Agent.stop)
    await handle.result()
    assert world.chain.spent == PRICE


async def test_payments_that_were_started_although_the_step_says_no_are_paid_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a crash between the starts and their marker."""
    answers = [RPCError("played", RPCStatusCode.UNAVAILABLE, b"")] * 2

    async def start_and_lose_the_answer(*args: Any, **options: Any) -> bool:
        started = await start_payment(*args, **options)
        if answers:
            raise answers.pop()
        return started

    monkeypatch.setattr(start_payments, "start_payment", start_and_lose_the_answer)
    handle = await launch(world)
    await handle.execute_update(Agent.request, RequestSpec(request_id="once", url=URL))
    await reach(world, handle, lambda status: status.delivered == 1 and not status.settling, step_s=5)
    await handle.signal(Agent.stop)
    await handle.result()
    assert world.chain.spent == PRICE
