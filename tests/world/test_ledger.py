"""The in-memory ledger fails on either side of a commit, as a database does, and is the same afterwards."""

from random import Random

import pytest

from autopay.domain.errors import IllegalTransition, LedgerUnavailable
from autopay.domain.payment.payment import Settlement
from autopay.domain.payment.steps import PaymentOrder, SignInput
from autopay.domain.request import RequestResult, RequestSpec, RequestStatus, x402_request_id
from tests.simulation.product import Activities
from tests.world.clock import run_virtually, sleep_ms
from tests.world.faults import Crashed, Process
from tests.world.shop import Shop
from tests.world.world import World

SPEC = RequestSpec(request_id="one", url="https://shop.example/data")
KEY = x402_request_id("agent", "one")


async def world_with_request() -> World:
    world = World([Shop(host="shop.example", price_atomic=1_000)], rng=Random(1))  # noqa: S311
    world.launch("agent", balance=50_000, allowance=5_000, tx_limit=10)
    await sleep_ms(60_000)
    await world.ledger.requests.accept("agent", SPEC, 1.0, 10)
    return world


async def sign(world: World, number: int = 1) -> object:
    activities = Activities.over(world)
    order = PaymentOrder(agent="agent", request_id="one", request_key=KEY, url=SPEC.url)
    offer = await activities.parse.parse(order, world.seller.till(SPEC.url).shop.challenge())
    assert offer.kind == "offer"
    return await activities.sign.sign(SignInput(order=order, number=number, offer=offer))


def test_a_commit_whose_answer_is_lost_has_happened() -> None:
    async def story() -> None:
        world = await world_with_request()
        world.faults.quiet_at_ms = 10**9
        world.faults.rates["ledger.away_after_commit"] = 1.0
        with pytest.raises(LedgerUnavailable):
            await world.ledger.requests.begin(KEY)
        assert world.ledger.store.requests[KEY].processed

    run_virtually(story())


def test_a_connection_lost_before_the_commit_changes_nothing() -> None:
    async def story() -> None:
        world = await world_with_request()
        world.faults.quiet_at_ms = 10**9
        world.faults.rates["ledger.away_before_commit"] = 1.0
        with pytest.raises(LedgerUnavailable):
            await world.ledger.requests.begin(KEY)
        assert not world.ledger.store.requests[KEY].processed

    run_virtually(story())


def test_an_attempt_is_recorded_once_and_blocks_the_next() -> None:
    async def story() -> None:
        world = await world_with_request()
        first = await sign(world)
        await sleep_ms(5_000)
        assert await sign(world) == first
        with pytest.raises(IllegalTransition):
            await sign(world, number=2)
        end = RequestResult(request_id="one", status=RequestStatus.FAILED, workflow_id="pay/agent/one")
        with pytest.raises(IllegalTransition):
            await world.ledger.requests.close(KEY, end)

    run_virtually(story())


def test_money_is_reserved_until_the_attempt_is_dead() -> None:
    async def story() -> None:
        world = await world_with_request()
        await sign(world)
        (attempt,) = world.ledger.store.attempts.values()
        assert world.ledger.sessions.taken(attempt.session.session_id) == (1, 1_000)
        await world.ledger.payments.record_dead(attempt.attempt_id, "expired_unsettled")
        assert world.ledger.sessions.taken(attempt.session.session_id) == (0, 0)
        settlement = Settlement(
            signature="signature",
            slot=1,
            payer=attempt.session.authority,
            destination=attempt.signed.destination_account,
            mint=attempt.signed.offer.mint,
            amount_atomic=1_000,
        )
        with pytest.raises(IllegalTransition):
            await world.ledger.payments.record_seen(attempt.attempt_id, settlement, final=True)

    run_virtually(story())


def test_a_process_that_was_given_up_works_on_until_it_dies() -> None:
    async def story() -> None:
        lost: list[bool] = []
        process = Process("worker", lost=lambda: lost.append(True))
        process.give_up(dies_at_ms=1_000)
        process.give_up(dies_at_ms=5_000)
        process.check()
        assert lost == [True]
        await sleep_ms(1_000)
        with pytest.raises(Crashed):
            process.check()

    run_virtually(story())
