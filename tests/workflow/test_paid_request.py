"""`PaidRequest` on the time-skipping server: each story of a payment, with the real ledger and activities."""

import asyncio
import logging

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.testservice.v1 import UnlockTimeSkippingRequest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from autopay.domain.errors import SellerUnavailable
from autopay.domain.payment.exchange import Reply
from autopay.domain.payment.steps import PAYMENT_RELEASE
from autopay.domain.request import RequestResult, RequestStatus
from autopay.temporal import attributes
from autopay.temporal.outcome import outcome_of
from tests.workflow.conftest import World
from tests.workflow.world import (
    PRICE,
    PlayedSeller,
    deliver,
    lie,
    lose_the_request,
    refuse,
    settle_and_fail,
    settle_and_lose_the_answer,
)
from workflows.paid_request import PaidRequest
from workflows.releases import check_payment_release


async def test_a_paid_request_is_delivered_and_final(world: World) -> None:
    handle = await world.pay()
    result = await handle.result()
    assert result.status == RequestStatus.DELIVERED
    assert (result.price_atomic, result.attempts, result.http_status) == (1_000, 1, 200)
    assert await world.statuses() == ["VERIFIED"]
    assert world.chain.spent == PRICE
    events = [each async for each in handle.fetch_history_events()]
    markers = [each.marker_recorded_event_attributes.marker_name for each in events]
    assert "core_patch" not in markers, "its release is an argument, which costs no event"
    assert events[-1].event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED


MOST_EVENTS = 22


async def test_a_first_run_reads_nothing_before_it_reserves_and_costs_few_events(world: World) -> None:
    handle = await world.pay(first=True)
    assert (await handle.result()).status == RequestStatus.DELIVERED
    assert await world.statuses() == ["VERIFIED"]
    assert len(world.seller.paid) == 1
    events = [each async for each in handle.fetch_history_events()]
    assert len(events) <= MOST_EVENTS
    kinds = [each.event_type for each in events]
    assert kinds.count(EventType.EVENT_TYPE_TIMER_STARTED) == 1, "until it can be final"
    assert kinds.count(EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES) == 1, "its status, when it ends"
    shown = (await handle.describe()).typed_search_attributes
    price = shown.get(attributes.PRICE), shown.get(attributes.CURRENCY)
    assert (shown.get(attributes.STATUS), price) == ("verified", (0.001, "USDC"))


async def test_a_first_run_whose_answer_was_lost_pays_once(world: World) -> None:
    world.seller.script = [settle_and_lose_the_answer, deliver]
    result = await outcome_of(await world.pay(first=True))
    assert (result.status, result.attempts) == (RequestStatus.DELIVERED, 1)
    assert len(set(world.seller.paid)) == 1
    assert world.chain.spent == PRICE


async def test_a_free_answer_costs_nothing(world: World) -> None:
    world.seller.free = True
    result = await outcome_of(await world.pay())
    assert result.status == RequestStatus.FREE
    assert world.chain.spent == 0


async def test_a_lost_answer_is_asked_for_again_with_the_same_bytes(world: World) -> None:
    world.seller.script = [settle_and_lose_the_answer, deliver]
    result = await outcome_of(await world.pay())
    assert result.status == RequestStatus.DELIVERED
    assert result.attempts == 1
    assert len(set(world.seller.paid)) == 1
    assert len(world.seller.paid) == 2
    assert world.chain.spent == PRICE


async def test_new_bytes_are_signed_only_after_the_old_ones_are_proven_dead(world: World) -> None:
    world.seller.script = [*[lose_the_request] * 4, deliver]
    began = await world.env.get_current_time()
    result = await outcome_of(await world.pay())
    assert result.status == RequestStatus.DELIVERED
    assert result.attempts == 2
    assert await world.statuses() == ["FAILED", "VERIFIED"]
    assert world.chain.spent == PRICE
    waited = (await world.env.get_current_time() - began).total_seconds()
    assert waited > 60, "a blockhash lives for 150 blocks, and finality is 32 slots behind"


async def test_money_that_is_taken_without_delivery_is_never_paid_again(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.seller.script = [settle_and_fail]
    handle = await world.pay()
    result = await outcome_of(handle)
    assert result.status == RequestStatus.UNDELIVERED
    assert await failure_of(handle) == ("paid_undelivered", "paid, and the seller answers HTTP 500")
    assert [each.message for each in caplog.records if each.levelno >= logging.WARNING] == [], "no fault of the worker"
    assert result.transaction is not None
    assert len(set(world.seller.paid)) == 1
    assert world.chain.spent == PRICE


async def test_a_seller_that_only_refuses_is_given_up_with_nothing_paid(world: World) -> None:
    world.seller.script = [refuse]
    handle = await world.pay()
    result = await outcome_of(handle)
    assert result.status == RequestStatus.FAILED
    assert result.error is not None
    assert await failure_of(handle) == ("payment_not_settled", result.error.message)
    assert await world.statuses() == ["FAILED"] * 3
    assert world.chain.spent == 0


async def test_a_false_receipt_is_not_believed(world: World) -> None:
    world.seller.script = [lie]
    result = await outcome_of(await world.pay())
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
    shown = (await handle.describe()).typed_search_attributes
    assert shown.get(attributes.STATUS) == "delivered", "it takes longer than expected"
    world.chain.away = False
    result = await outcome_of(handle)
    assert result.status == RequestStatus.DELIVERED
    assert await world.statuses() == ["VERIFIED"]


async def test_a_cancel_after_signing_waits_for_the_fate_of_the_payment(world: World) -> None:
    world.seller.script = [settle_and_lose_the_answer, settle_and_fail]
    handle = await world.pay()
    await world.env.sleep(1)
    await handle.cancel()
    result = await outcome_of(handle)
    assert result.status == RequestStatus.UNDELIVERED
    assert await world.statuses() == ["VERIFIED"]


async def test_a_run_after_a_termination_goes_on_from_the_ledger(world: World) -> None:
    paid, end = asyncio.Event(), asyncio.Event()

    async def settle_and_keep_the_line_open(seller: PlayedSeller, payment: bytes) -> Reply:
        await seller.chain.land(payment)
        paid.set()
        await end.wait()
        raise SellerUnavailable("cut")

    world.seller.script = [settle_and_keep_the_line_open, deliver]
    handle = await world.pay()
    await paid.wait()
    await handle.terminate("a careless operator")
    try:
        await handle.result()
    except WorkflowFailureError:
        # The terminated run's step held the server's clock, and the server never lets go of it by itself.
        await world.client.test_service.unlock_time_skipping(UnlockTimeSkippingRequest())
        result = await outcome_of(await world.start("r1"))
    end.set()
    assert result.status == RequestStatus.DELIVERED
    assert len(set(world.seller.paid)) == 1, "the recorded bytes were sent again, none were signed"
    assert world.chain.spent == PRICE


async def test_a_closed_request_answers_the_same_even_when_temporal_has_forgotten(world: World) -> None:
    first = await outcome_of(await world.pay())
    again = await world.client.execute_workflow(
        "PaidRequest",
        {"agent": "tester", "request_id": "r1", "request_key": (await key_of(world)), "url": "https://seller.example"},
        id="another-id-as-after-a-lost-retention",
        task_queue="autopay",
        result_type=type(first),
    )
    assert again == first
    assert world.chain.spent == PRICE


async def test_a_request_that_is_known_to_have_failed_fails_again_and_asks_nobody(world: World) -> None:
    world.seller.away = {"seller.example"}
    handle = await world.pay()
    first = await outcome_of(handle)
    assert first.error is not None
    asked = len(world.seller.asked)
    again = await world.start("r1")
    assert await outcome_of(again) == first
    assert await failure_of(handle) == await failure_of(again) == ("seller_unavailable", first.error.message)
    assert (len(world.seller.asked), world.seller.paid) == (asked, [])


async def failure_of(handle: WorkflowHandle[PaidRequest, RequestResult]) -> tuple[str | None, str]:
    """Type and message of the failure that Temporal shows; it is no error of the worker, and nothing is retried."""
    assert (await handle.describe()).status is WorkflowExecutionStatus.FAILED
    with pytest.raises(WorkflowFailureError) as failed:
        await handle.result()
    cause = failed.value.cause
    assert isinstance(cause, ApplicationError)
    assert (cause.category, cause.non_retryable) == (ApplicationErrorCategory.BENIGN, True)
    return cause.type, cause.message


async def key_of(world: World) -> str:
    return (await world.ledger.reports.timeline("tester"))[0].request_key


async def test_a_run_that_completed_without_content_before_replays_as_it_was(world: World) -> None:
    """As 0.2.0 wrote it, and as a query of such a run replays it."""
    world.seller.script = [settle_and_fail]
    with pytest.MonkeyPatch.context() as before:
        before.setattr("temporalio.workflow.patched", lambda _: False)
        handle = await world.pay(release=0)
        assert (await handle.result()).status == RequestStatus.UNDELIVERED


async def test_a_run_that_0_2_0_began_goes_on_as_there(world: World) -> None:
    """Also when its order, or its seller's answer, has what only a newer run uses."""
    handle = await world.pay(first=True, release=0)
    assert (await handle.result()).status == RequestStatus.DELIVERED
    events = [each.event_type async for each in handle.fetch_history_events()]
    assert EventType.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED in events, "its notices are signals"
    assert events.count(EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES) == 3, "signed, delivered, verified"


@pytest.mark.parametrize("release", [-1, PAYMENT_RELEASE + 1])
def test_a_worker_leaves_a_payment_of_a_release_that_it_does_not_know_to_others(release: int) -> None:
    """As a worker of 0.2.0 does, whose `PaidRequest` has one argument: an error that is no failure fails the task."""
    with pytest.raises(RuntimeError, match="a newer worker goes on"):
        check_payment_release(release)
