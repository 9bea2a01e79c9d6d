"""The in-memory ledger fails on either side of a commit, as a database does; its rules are in ledger/contract."""

from random import Random

import pytest

from autopay.domain.errors import LedgerUnavailable
from autopay.domain.request import RequestSpec, x402_request_id
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
