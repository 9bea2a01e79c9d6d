"""Which request comes first: worth per unit of money, and nothing waits for ever."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autopay.domain.agent.state.priority import HIGHEST, LOWEST, score, score_at, sort_key

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PATIENCE = timedelta(minutes=HIGHEST - LOWEST)
"""Nothing that is queued later than this after a request comes before it."""


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (score(weight=2), score(weight=1)),
        (score(staleness=3), score(staleness=1)),
        (score(price_atomic=1000, spendable_atomic=10_000), score(price_atomic=2000, spendable_atomic=10_000)),
        (score(price_atomic=1000, spendable_atomic=100_000), score(price_atomic=1000, spendable_atomic=2_000)),
        (score(price_atomic=0), score(price_atomic=1, spendable_atomic=0)),
        (score(), score(weight=1)),
        (score(weight=1, staleness=5), score()),
    ],
    ids=["heavier", "staler", "cheaper", "richer", "free", "by hand before routine", "very stale before by hand"],
)
def test_what_is_worth_more_scores_higher(better: float, worse: float) -> None:
    assert better > worse


def test_twice_the_worth_is_one_point() -> None:
    assert score(weight=4) - score(weight=2) == 1
    assert score(price_atomic=100, spendable_atomic=100) == pytest.approx(score() - 3.3219, abs=0.001)


weights = st.floats(0.001, 1000)
amounts = st.integers(0, 2**64 - 1)
scores = st.builds(score, weights, st.floats(0, 1e9), amounts, st.none() | amounts)


@given(scores)
def test_first_scores_are_bounded(first: float) -> None:
    assert LOWEST - 0.001 <= first <= HIGHEST + 0.001


@given(scores, scores, st.integers(0, 10**6))
def test_a_request_is_overtaken_only_by_what_comes_soon_after_it(early: float, late: float, delay_ms: int) -> None:
    arrives = NOW + PATIENCE + timedelta(milliseconds=delay_ms + 200)
    assert sort_key(early, NOW) < sort_key(late, arrives)


@given(scores, scores, st.integers(0, 10**7), st.integers(0, 10**9))
def test_the_order_is_the_same_at_every_moment(one: float, two: float, apart_ms: int, later_ms: int) -> None:
    second = NOW + timedelta(milliseconds=apart_ms)
    moment = second + timedelta(milliseconds=later_ms)
    by_place = sort_key(one, NOW) < sort_key(two, second)
    first, other = score_at(one, NOW, moment), score_at(two, second, moment)
    assert by_place == (first > other) or abs(first - other) < 1e-4


def test_ties_go_to_the_oldest() -> None:
    later = NOW + timedelta(microseconds=1)
    assert sort_key(1.0, NOW) < sort_key(1.0, later)
