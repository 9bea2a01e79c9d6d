"""Every way of the tables, tried on a real buyer: how it ends, what the ledger says, and what moved on chain."""

from collections import Counter

import pytest

from tests.hostile.buyer import MOST_WAIT_MS
from tests.hostile.conftest import Trials
from tests.hostile.town import Town
from tests.hostile.way import Way
from tests.hostile.ways.all import WAYS


def test_no_two_ways_share_a_name() -> None:
    assert [name for name, times in Counter(str(way) for way in WAYS).items() if times > 1] == []


@pytest.mark.parametrize("way", WAYS, ids=str)
async def test_a_seller_gets_what_was_agreed_and_no_more(way: Way, town: Town, trials: Trials) -> None:
    outcome = await trials[str(way)]
    ends = [(result.status, result.error.type if result.error else None) for result in outcome.results]
    assert ends == [(end.status, end.error) for end in way.ends], (
        outcome.results[-1].error,
        outcome.shop.scene.objections,
    )
    assert (outcome.moved, outcome.drawn) == (way.moves, way.moves)
    assert await town.got(way, "thief") == 0
    assert outcome.signed >= 1 if way.moves else outcome.signed == way.signs
    assert len(outcome.buyer.steps.questions) == way.asked
    assert max(outcome.buyer.steps.waits_ms, default=0) <= MOST_WAIT_MS
    assert town.trap.paid == []
    assert any(visit.path.endswith(f"?{way}") for visit in town.trap.plain) == way.redirects
    # What the ledger says is what the chain says: every attempt has an outcome, and what is VERIFIED has moved.
    verified = [row.amount_atomic for row in outcome.rows if row.status == "VERIFIED"]
    assert {row.status for row in outcome.rows} <= {"VERIFIED", "FAILED"}
    assert (sum(verified), outcome.unsettled) == (way.moves, 0)


async def test_nothing_moves_when_all_is_over(town: Town, trials: Trials) -> None:
    for way in WAYS:
        if str(way) in trials and trials[str(way)].done():
            outcome = await trials[str(way)]
            assert await town.gone(way) == (outcome.moved, outcome.drawn), way.name
