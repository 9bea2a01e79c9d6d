"""`Agent` when something is down, waits for a person, or is short of money: the rest goes on."""

from datetime import timedelta

from temporalio.client import WorkflowExecutionStatus, WorkflowHandle

from autopay.domain.agent.spec import AgentSpec, Rules, Watch
from autopay.domain.agent.status import AgentState, BreakerState
from autopay.domain.money import Currency
from autopay.domain.payment.exchange import StoredContent
from autopay.domain.phase import Phase
from autopay.domain.request import RequestResult, RequestSpec, RequestStatus, x402_request_id
from autopay.temporal.outcome import outcome_of
from tests.workflow.conftest import World
from tests.workflow.test_agent import RULES, WATCH, Handle, launch, reach
from tests.workflow.world import PRICE
from workflows.agent import Agent
from workflows.paid_request import PaidRequest

Payment = WorkflowHandle[PaidRequest, RequestResult]

DOWN = "https://down.example/x"
FREE = "https://free.example/x"


async def ask(handle: Handle, request_id: str, url: str, **more: object) -> None:
    """A request by hand."""
    spec = RequestSpec.model_validate({"request_id": request_id, "url": url} | more)
    await handle.execute_update(Agent.request, spec)


async def end(handle: Handle) -> None:
    await handle.signal(Agent.stop)
    await handle.result()


async def test_one_sellers_outage_does_not_slow_anothers_purchases(world: World) -> None:
    world.seller.away = {"down.example"}
    watches = [Watch(name=f"down{number}", url=f"{DOWN}{number}", every_s=60) for number in range(3)]
    handle = await launch(world, Phase.FULL, *watches, WATCH)
    is_open = lambda status: any(each.state == BreakerState.OPEN for each in status.breakers)  # noqa: E731
    status = await reach(world, handle, is_open, step_s=5)
    assert [each.of for each in status.breakers] == ["down.example:443"]
    asked, delivered = len(world.seller.asked), status.delivered
    await reach(world, handle, lambda status: status.delivered >= delivered + 2)
    to_the_other = len([url for url in world.seller.asked[asked:] if url.startswith(DOWN)])
    assert to_the_other <= 12, "a probe or two of four tries each, not three watches that ask all the time"
    world.seller.away = set()
    await reach(world, handle, lambda status: not status.breakers)
    await end(handle)
    async with world.ledger.database.engine.connect() as db:
        states = await db.exec_driver_sql("SELECT DISTINCT circuit_breaker_state FROM api_request_logs")
        assert {row[0] for row in states} >= {"CLOSED", "HALF_OPEN"}


async def test_while_the_chain_is_away_free_data_is_fetched_and_payments_wait(world: World) -> None:
    world.seller.free_hosts = {"free.example"}
    handle = await launch(world, Phase.FULL, WATCH, rules=RULES.model_copy(update={"balance_every_s": 5}))
    await reach(world, handle, lambda status: status.delivered == 1 and not status.settling)
    world.chain.away = True
    status = await reach(world, handle, lambda status: any(each.of == "rpc" for each in status.breakers))
    status = await reach(world, handle, lambda status: status.breakers[0].state == BreakerState.OPEN)
    await ask(handle, "free", FREE)
    status = await reach(world, handle, lambda status: status.delivered == 2, step_s=2)
    assert status.reason is not None
    assert "the chain does not answer" in status.reason
    assert world.chain.spent == PRICE
    world.chain.away = False
    await reach(world, handle, lambda status: status.payments >= 2)
    await end(handle)


async def test_a_request_that_waits_for_a_person_holds_up_nothing(world: World) -> None:
    world.seller.free_hosts = {"free.example"}
    await world.ledger.agents.set_phase("tester", Phase.INTERACTIVE)
    handle = await launch(world, Phase.INTERACTIVE, WATCH, rules=RULES.model_copy(update={"max_in_flight": 1}))
    status = await reach(world, handle, lambda status: bool(status.held), step_s=1)
    (held,) = status.held
    assert (held.why, status.in_flight, status.watches[0].waits) == ("approval", (), "held: approval")
    await ask(handle, "free", FREE)
    await reach(world, handle, lambda status: status.delivered == 1, step_s=1)
    payment: Payment = world.client.get_workflow_handle(f"pay/tester/{held.request_id}")
    assert (await payment.describe()).status == WorkflowExecutionStatus.RUNNING
    await payment.execute_update(PaidRequest.approve, await terms_hash(world, held.request_id))
    await reach(world, handle, lambda status: status.payments == 1, step_s=1)
    await end(handle)
    assert world.chain.spent == PRICE


async def test_a_stopping_agent_closes_its_questions_and_a_new_one_asks_anew(world: World) -> None:
    await world.ledger.agents.set_phase("tester", Phase.INTERACTIVE)
    handle = await launch(world, Phase.INTERACTIVE, WATCH)
    status = await reach(world, handle, lambda status: bool(status.held), step_s=1)
    first = status.held[0].request_id
    await end(handle)
    payment: Payment = world.client.get_workflow_handle(f"pay/tester/{first}", result_type=RequestResult)
    result = await outcome_of(payment)
    assert (result.status, result.error and result.error.type) == (RequestStatus.REFUSED, "canceled")
    again = await launch(world, Phase.INTERACTIVE, WATCH)
    status = await reach(world, again, lambda status: bool(status.held), step_s=1)
    assert status.held[0].request_id != first
    await end(again)
    assert world.chain.spent == 0


async def terms_hash(world: World, request_id: str) -> str:
    key = x402_request_id("tester", request_id)
    async with world.ledger.database.engine.connect() as db:
        rows = await db.exec_driver_sql("SELECT terms_hash FROM approvals WHERE x402_request_id = %s", (key,))
        return str(rows.scalar_one())


async def test_money_that_comes_in_is_noticed_at_once_without_polling(world: World) -> None:
    world.chain.funds = PRICE
    handle = await launch(world, Phase.FULL, WATCH, rules=RULES.model_copy(update={"balance_every_s": 86_400}))
    status = await reach(world, handle, lambda status: status.state == AgentState.PAUSED, step_s=1)
    assert "0.001 USDC or more to" in (status.reason or "")
    assert status.watches[0].next_due is None
    (snapshot,) = await world.ledger.agents.balances("tester")
    assert snapshot.status == "PAUSED"
    paused_at = await world.env.get_current_time()
    world.chain.funds = 10 * PRICE
    await reach(world, handle, lambda status: status.payments >= 1, step_s=1)
    assert await world.env.get_current_time() - paused_at < timedelta(seconds=60)
    assert world.accounts.waits == 1
    (snapshot,) = await world.ledger.agents.balances("tester")
    assert snapshot.status == "SUFFICIENT"
    await end(handle)


async def test_what_was_bought_within_its_window_is_not_bought_again(world: World) -> None:
    handle = await launch(world)
    await ask(handle, "first", "https://data.example/x")
    await reach(world, handle, lambda status: status.delivered == 1, step_s=1)
    spec = RequestSpec(request_id="second", url="https://data.example/x", max_age_s=3600)
    for _ in range(2):
        accepted = await handle.execute_update(Agent.request, spec)
        assert (accepted.status, accepted.content_of) == (RequestStatus.FRESH, "first")
    content = await world.ledger.requests.content(x402_request_id("tester", "second"))
    assert content == StoredContent(content_type="application/json", body=b'{"data": 42}')
    assert (await handle.query(Agent.status)).fresh >= 1
    assert world.chain.spent == PRICE
    await ask(handle, "third", "https://data.example/x", max_age_s=0)
    await reach(world, handle, lambda status: status.delivered == 2, step_s=1)
    await end(handle)
    assert world.chain.spent == 2 * PRICE


async def test_an_agent_that_the_ledger_does_not_know_waits_and_says_so(world: World) -> None:
    await (await world.pay()).result()
    spec = AgentSpec(name="nobody", phase=Phase.FULL, watches=(WATCH,))
    handle = await world.client.start_workflow(Agent.run, spec, id="agent/nobody", task_queue="autopay")
    status = await reach(world, handle, lambda status: status.reason is not None, step_s=1)
    assert "There is no agent of that name" in (status.reason or "")
    await world.ledger.agents.create("nobody", Phase.FULL)
    await reach(world, handle, lambda status: "tries again" not in (status.reason or ""))
    await end(handle)


async def test_a_request_that_is_not_affordable_starts_when_money_comes(world: World) -> None:
    world.chain.funds = 10 * PRICE
    rules = Rules(thresholds={Currency.USDC: PRICE}, balance_every_s=86_400)
    handle = await launch(world, rules=rules)
    await ask(handle, "first", "https://data.example/x")
    await reach(world, handle, lambda status: status.delivered == 1 and not status.settling, step_s=2)
    world.chain.funds = 2 * PRICE + PRICE // 2
    await handle.signal(Agent.check_balances)
    await ask(handle, "second", "https://data.example/x", max_age_s=0)
    await reach(world, handle, lambda status: status.delivered == 2 and not status.settling, step_s=2)
    await ask(handle, "third", "https://data.example/x", max_age_s=0)
    await reach(world, handle, lambda status: status.queued == ("third",), step_s=1)
    world.chain.funds += 10 * PRICE
    await reach(world, handle, lambda status: status.delivered == 3, step_s=1)
    await end(handle)
