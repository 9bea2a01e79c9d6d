"""What the two paid APIs sell: computed prices and looked-up knowledge."""

import hashlib

import pytest

from localnet.sellers.knowledge import INSIGHTS, answer_to, insight_on
from localnet.sellers.market import OPENING_USD, MarketFeed
from localnet.sellers.prices import MARKET_FEED, ListPrice
from localnet.weather.faults import Weather, WeatherState


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_the_same_seed_and_moments_give_the_same_prices_and_another_seed_does_not() -> None:
    def walk(seed: int) -> list[object]:
        clock = Clock()
        feed = MarketFeed(seed, clock)
        snapshots: list[object] = []
        for step in range(20):
            clock.now += step
            snapshots.append(feed.snapshot())
        return snapshots

    assert walk(7) == walk(7)
    assert walk(7) != walk(8)


def test_the_spread_is_what_buying_at_one_venue_and_selling_at_the_other_gains() -> None:
    clock = Clock()
    feed = MarketFeed(seed=3, clock=clock)
    clock.now += 60
    snapshot = feed.snapshot()
    quotes = {(quote["pair"], quote["venue"]): quote for quote in snapshot["quotes"]}
    for spread in snapshot["arbitrage"]:
        buy, sell = quotes[spread["pair"], spread["buy_at"]], quotes[spread["pair"], spread["sell_at"]]
        assert buy["venue"] != sell["venue"]
        gain_bps = (sell["bid"] / buy["ask"] - 1) * 10_000
        back_bps = (buy["bid"] / sell["ask"] - 1) * 10_000
        assert spread["spread_bps"] == pytest.approx(max(gain_bps, back_bps), abs=0.01)
    assert len(quotes) == 2 * len(OPENING_USD)
    assert snapshot["best"] in snapshot["arbitrage"]


def test_prices_stay_believable_over_a_day_and_across_a_clock_that_goes_back() -> None:
    clock = Clock()
    feed = MarketFeed(seed=11, clock=clock)
    for _ in range(24 * 60):
        clock.now += 60
        feed.snapshot()
    clock.now -= 3_600
    for quote in feed.snapshot()["quotes"]:
        opening = OPENING_USD[quote["pair"].removesuffix("/USD")]
        assert opening / 2 < quote["bid"] < quote["ask"] < opening * 2


@pytest.mark.parametrize("topic", [*INSIGHTS, " Fees "])
def test_every_topic_has_an_insight(topic: str) -> None:
    insight = insight_on(topic)
    assert insight is not None
    assert insight["topic"] == topic.strip().lower()


def test_an_unknown_topic_has_none() -> None:
    assert insight_on("astrology") is None


def test_an_answer_names_the_topics_of_the_question_best_first_and_echoes_its_hash() -> None:
    question = "What is the peg of a usdc dollar worth when fees rise?"
    answer = answer_to(question)
    assert answer["topics"] == ["stablecoins", "fees"]
    assert answer["question_sha256"] == hashlib.sha256(question.encode()).hexdigest()
    assert answer_to("¿?")["topics"] == []


@pytest.mark.parametrize(("factor", "amounts"), [(1, ["1000", "1200"]), (1.5, ["1500", "1800"])])
def test_a_price_follows_the_weather(factor: float, amounts: list[str]) -> None:
    weather = WeatherState()
    weather.now = Weather(price_factor=factor)
    assert [asked.amount for asked in MARKET_FEED.now(weather)] == amounts


def test_a_price_is_never_nothing() -> None:
    weather = WeatherState()
    weather.now = Weather(price_factor=0.000_1)
    assert [asked.amount for asked in ListPrice(1, 1).now(weather)] == ["1", "1"]
