"""Recovery on the real stack: killed workers, lost workflows, lost answers; the money is checked on the chain."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from temporalio.client import (
    Schedule,
    ScheduleActionExecutionStartWorkflow,
    ScheduleActionStartWorkflow,
    ScheduleHandle,
    ScheduleSpec,
)

from autopay.domain.payment.adoption import ADOPT_ID, Adopted, AdoptOrder
from autopay.domain.reconcile.report import ReconcileReport
from autopay.domain.request import (
    RequestStatus,
    payment_workflow_id,
)
from tests.stack.town import FEED, INSIGHT, SLOW_MS, Town, open_town, until


@pytest.fixture(scope="module")
async def town(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    async with open_town(tmp_path_factory.mktemp("recovery") / "home") as town:
        yield town


@pytest.fixture(autouse=True)
async def _fair_weather(town: Town) -> AsyncIterator[None]:
    yield
    for api in (town.addresses.market_api, town.addresses.knowledge_api):
        await town.weather(api)


async def test_a_worker_killed_in_the_middle_of_payments_pays_each_at_most_once(town: Town) -> None:
    market, knowledge = town.addresses.market_api, town.addresses.knowledge_api
    requests = {f"kill-{n}": (market + FEED if n % 2 else knowledge + INSIGHT) for n in range(8)}
    for api in (market, knowledge):
        await town.weather(api, lose_answers=0.3, latency_ms=100)

    async def a_payment_is_open() -> bool:
        return bool(await town.ledger.payments.open_attempts())

    await asyncio.gather(*(town.ask(request_id, url) for request_id, url in requests.items()))
    for _ in range(2):
        await until(a_payment_is_open)
        killed = town.stack.pid("worker-1")
        await town.stack.kill("worker-1")

        async def is_back(pid: int = killed) -> bool:
            return town.stack.pid("worker-1") != pid

        await until(is_back)
    results = [await town.ended(request_id) for request_id in requests]
    paid = {RequestStatus.DELIVERED, RequestStatus.UNDELIVERED}
    report = await town.reconciled()
    assert report.payments == report.on_chain == sum(result.status in paid for result in results)
    assert {result.status for result in results} <= paid | {RequestStatus.FAILED}


async def test_a_payment_whose_workflow_was_terminated_is_adopted_and_resolved(town: Town) -> None:
    before = (await town.reconciled()).payments
    await town.weather(town.addresses.knowledge_api, latency_ms=SLOW_MS)
    await town.ask("orphan", town.addresses.knowledge_api + INSIGHT)
    await town.sent("orphan")
    await town.client.get_workflow_handle(payment_workflow_id(town.agent, "orphan")).terminate("by mistake")
    await town.weather(town.addresses.knowledge_api)
    adopted = [await _adopt(town, number) for number in range(2)]
    assert town.key("orphan") in adopted[0].started
    assert town.key("orphan") not in adopted[1].started  # it runs, or has ended
    result = await town.ended("orphan")
    assert (result.status, result.attempts) == (RequestStatus.DELIVERED, 1)
    assert (await town.reconciled()).payments == before + 1


async def test_adoption_at_any_concurrency_starts_a_payment_once(town: Town) -> None:
    before = (await town.reconciled()).payments
    await town.weather(town.addresses.knowledge_api, latency_ms=SLOW_MS)
    for request_id in ("crowd-1", "crowd-2"):
        await town.ask(request_id, town.addresses.knowledge_api + INSIGHT)
        await town.sent(request_id)
        await town.client.get_workflow_handle(payment_workflow_id(town.agent, request_id)).terminate("by mistake")
    batches = await asyncio.gather(*(_adopt(town, number, batch=1 + number % 3) for number in range(6)))
    for request_id in ("crowd-1", "crowd-2"):
        assert [town.key(request_id) in each.started for each in batches].count(True) <= 1
        assert (await town.ended(request_id)).status is RequestStatus.DELIVERED
    assert (await town.reconciled()).payments == before + 2


async def _adopt(town: Town, number: int, batch: int = 100) -> Adopted:
    """One run, as the schedule starts it, without its minute and its half of one."""
    adopted: Adopted = await town.client.execute_workflow(
        "Adopt",
        AdoptOrder(older_than_s=0, batch=batch),
        id=f"test-adopt-{number}",
        task_queue=town.settings.task_queue,
        result_type=Adopted,
    )
    return adopted


async def test_the_schedule_of_adoption_runs_and_begins_where_the_last_run_ended(town: Town) -> None:
    kept = await town.client.get_schedule_handle(ADOPT_ID).describe()
    assert (kept.schedule.state.paused, len(kept.schedule.spec.intervals)) == (False, 1)
    action = kept.schedule.action
    assert isinstance(action, ScheduleActionStartWorkflow)
    action.args, action.id = [AdoptOrder(older_than_s=0, batch=2)], "test-adopt-small"
    small = await town.client.create_schedule("small", Schedule(action=action, spec=ScheduleSpec()))
    await town.weather(town.addresses.knowledge_api, latency_ms=2 * SLOW_MS)
    for number in range(3):
        await town.ask(f"row-{number}", town.addresses.knowledge_api + INSIGHT)
    for number in range(3):
        await _begun(town, f"row-{number}")
    batches = [await _triggered(town, small, number) for number in range(1, 4)]
    await small.delete()
    assert [each.open_requests for each in batches] == [2, 1, 2]
    assert [each.next_after is None for each in batches] == [False, True, False]
    assert [each.started for each in batches] == [(), (), ()], "all of them run"
    assert [(await town.ended(f"row-{number}")).status for number in range(3)] == [RequestStatus.DELIVERED] * 3


async def _begun(town: Town, request_id: str) -> None:
    async def taken() -> bool:
        backlog = await town.ledger.requests.backlog(town.agent)
        return request_id in [each.request_id for each in backlog.open]

    await until(taken)


async def _triggered(town: Town, schedule: ScheduleHandle, number: int) -> Adopted:
    """The result of the schedule's run of that number."""
    await schedule.trigger()

    async def started() -> bool:
        return (await schedule.describe()).info.num_actions >= number

    await until(started)
    run = (await schedule.describe()).info.recent_actions[-1].action
    assert isinstance(run, ScheduleActionExecutionStartWorkflow)
    handle = town.client.get_workflow_handle(run.workflow_id, result_type=Adopted)
    adopted: Adopted = await handle.result()
    return adopted


async def test_what_was_paid_and_not_delivered_is_a_dispute_and_comes_with_a_retry(town: Town, tmp_path: Path) -> None:
    before = (await town.reconciled()).payments
    knowledge = town.addresses.knowledge_api
    await town.weather(knowledge, latency_ms=SLOW_MS)
    await town.ask("owed", knowledge + INSIGHT)
    await town.sent("owed")
    await town.weather(knowledge, lose_answers=1)  # and so is the answer that is on its way
    refused = await town.starter("retry", "owed", "--agent", town.agent, code=2)
    assert "has not ended yet" in refused[1]
    result = await town.ended("owed")
    assert (result.status, result.attempts) == (RequestStatus.UNDELIVERED, 1)

    disputes = json.loads((await town.starter("ledger", "disputes", "--agent", town.agent, "--json"))[0])
    dispute = next(each for each in disputes if each["request_id"] == "owed")
    assert (dispute["agent"], dispute["transaction"]) == (town.agent, result.transaction)
    assert (dispute["amount"], dispute["currency"], dispute["refused"]) == ("0.002000", "USDC", False)
    assert dispute["sends"] >= 2
    assert datetime.fromisoformat(dispute["next_ask_at"]) > datetime.now(UTC)
    assert "owed: undelivered" in (await town.starter("retry", "owed", code=5))[1]

    await town.weather(knowledge)
    out, err = await town.starter("retry", "owed")
    assert json.loads(out)["topic"] == "fees"
    assert f"owed: delivered, paid 0.002000 USDC, to {result.pay_to}, transaction {result.transaction}" in err
    assert "owed" not in [each.request_id for each in (await town.ledger.reports.disputes()).rows]
    assert "is delivered" in (await town.starter("retry", "owed", "--agent", town.agent, code=2))[1]
    assert (await town.reconciled()).payments == before + 1
    await _checkpoints_tell_the_same(town, tmp_path / "checkpoint.json")


async def _checkpoints_tell_the_same(town: Town, file: Path) -> None:
    afresh = await town.reconciled()
    for _ in range(2):
        out, _ = await town.starter("ledger", "reconcile", "--checkpoint", str(file), "--json")
        report = ReconcileReport.model_validate_json(out)
        assert report.model_copy(update={"as_of_slot": afresh.as_of_slot}) == afresh


async def test_a_ledger_that_lies_is_found_out(town: Town) -> None:
    await town.ask("lied-about", town.addresses.market_api + FEED)
    result = await town.ended("lied-about")
    await town.reconciled()
    with psycopg.connect(town.addresses.database_url) as connection:
        connection.execute("SET session_replication_role = replica")  # without triggers
        connection.execute("UPDATE transactions SET amount = 0.5 WHERE hash = %s", [result.transaction])
    out, _ = await town.starter("ledger", "reconcile", "--json", code=1)
    (entry,) = json.loads(out)["unmatched_chain"]
    assert (entry["transaction"], entry["reason"]) == (result.transaction, "amount_differs")
