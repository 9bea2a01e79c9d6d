"""`PaidRequest` on the time-skipping server: each story of a payment, with the real ledger and activities."""

from temporalio.client import WorkflowFailureError

from autopay.domain.request import RequestStatus
from tests.workflow.conftest import World
from tests.workflow.world import (
    PRICE,
    deliver,
    lie,
    lose_the_request,
    refuse,
    settle_and_fail,
    settle_and_lose_the_answer,
)


async def test_a_paid_request_is_delivered_and_final(world: World) -> None:
    result = await (await world.pay()).result()
    assert result.status == RequestStatus.DELIVERED
    assert (result.price_atomic, result.attempts, result.http_status) == (1_000, 1, 200)
    assert await world.statuses() == ["VERIFIED"]
    assert world.chain.spent == PRICE


async def test_a_free_answer_costs_nothing(world: World) -> None:
    world.seller.free = True
    result = await (await world.pay()).result()
    assert result.status == RequestStatus.FREE
    assert world.chain.spent == 0


async def test_a_lost_answer_is_asked_for_again_with_the_same_bytes(world: World) -> None:
    world.seller.script = [settle_and_lose_the_answer, deliver]
    result = await (await world.pay()).result()
    assert result.status == RequestStatus.DELIVERED
    assert result.attempts == 1
    assert len(set(world.seller.paid)) == 1
    assert len(world.seller.paid) == 2
    assert world.chain.spent == PRICE


async def test_new_bytes_are_signed_only_after_the_old_ones_are_proven_dead(world: World) -> None:
    world.seller.script = [*[lose_the_request] * 4, deliver]
    began = await world.env.get_current_time()
    result = await (await world.pay()).result()
    assert result.status == RequestStatus.DELIVERED
    assert result.attempts == 2
    assert await world.statuses() == ["FAILED", "VERIFIED"]
    assert world.chain.spent == PRICE
    waited = (await world.env.get_current_time() - began).total_seconds()
    assert waited > 60, "a blockhash lives for 150 blocks, and finality is 32 slots behind"


async def test_money_that_is_taken_without_delivery_is_never_paid_again(world: World) -> None:
    world.seller.script = [settle_and_fail]
    result = await (await world.pay()).result()
    assert result.status == RequestStatus.UNDELIVERED
    assert result.transaction is not None
    assert len(set(world.seller.paid)) == 1
    assert world.chain.spent == PRICE


async def test_a_seller_that_only_refuses_is_given_up_with_nothing_paid(world: World) -> None:
    world.seller.script = [refuse]
    result = await (await world.pay()).result()
    assert result.status == RequestStatus.FAILED
    assert result.error is not None
    assert result.error.type == "payment_not_settled"
    assert await world.statuses() == ["FAILED"] * 3
    assert world.chain.spent == 0


async def test_a_false_receipt_is_not_believed(world: World) -> None:
    world.seller.script = [lie]
    result = await (await world.pay()).result()
    assert result.status == RequestStatus.DELIVERED
    assert result.transaction is None
    assert await world.statuses() == ["FAILED"]


async def test_an_outage_of_the_chain_delays_the_outcome_and_loses_nothing(world: World) -> None:
    async def deliver_and_cut_the_chain(seller: object, payment: bytes) -> object:
        reply = await deliver(world.seller, payment)
        world.chain.away = True
        return reply

    world.seller.script = [deliver_and_cut_the_chain]  # type: ignore[list-item]
    handle = await world.pay()
    await world.env.sleep(60)
    world.chain.away = False
    result = await handle.result()
    assert result.status == RequestStatus.DELIVERED
    assert await world.statuses() == ["VERIFIED"]


async def test_a_cancel_after_signing_waits_for_the_fate_of_the_payment(world: World) -> None:
    world.seller.script = [settle_and_lose_the_answer, settle_and_fail]
    handle = await world.pay()
    await world.env.sleep(1)
    await handle.cancel()
    result = await handle.result()
    assert result.status == RequestStatus.UNDELIVERED
    assert await world.statuses() == ["VERIFIED"]


async def test_a_run_after_a_termination_goes_on_from_the_ledger(world: World) -> None:
    world.seller.script = [settle_and_lose_the_answer, deliver]
    handle = await world.pay()
    await world.env.sleep(0.3)
    await handle.terminate("a careless operator")
    try:
        await handle.result()
    except WorkflowFailureError:
        result = await (await world.start("r1")).result()
    assert result.status == RequestStatus.DELIVERED
    assert len(set(world.seller.paid)) == 1, "the recorded bytes were sent again, none were signed"
    assert world.chain.spent == PRICE


async def test_a_closed_request_answers_the_same_even_when_temporal_has_forgotten(world: World) -> None:
    first = await (await world.pay()).result()
    again = await world.client.execute_workflow(
        "PaidRequest",
        {"agent": "tester", "request_id": "r1", "request_key": (await key_of(world)), "url": "https://seller.example"},
        id="another-id-as-after-a-lost-retention",
        task_queue="autopay",
        result_type=type(first),
    )
    assert again == first
    assert world.chain.spent == PRICE


async def key_of(world: World) -> str:
    return (await world.ledger.reports.timeline("tester"))[0].request_key
