"""When an agent reads its balances: at once when something happened, rarely while nothing does, before it buys."""

from datetime import timedelta
from itertools import pairwise

import pytest

from autopay.domain.agent.spec import Watch
from autopay.domain.agent.state.breakers import FAULTS
from autopay.domain.agent.status import Spendable
from autopay.domain.money import Currency
from autopay.domain.request import RequestStatus
from tests.unit.agent_driver import PRICE, START, A, AgentDriver, B

MINUTE, HOUR = 60, 3600
EVERY = 30
"""Seconds of the rule `balance_every_s` when nobody changes it."""


def readings(driver: AgentDriver, seconds: float, funds: int = 1_000_000) -> list[float]:
    """Let that time pass with a reading whenever one is due; the seconds from the start at which it was."""
    read: list[float] = []
    until = driver.now + timedelta(seconds=seconds)
    while driver.now <= until:
        if driver.state.balances_are_due(driver.now):
            driver.read(funds)
            read.append((driver.now - START).total_seconds())
        driver.now = max(driver.state.next_wake(driver.now), driver.now + timedelta(milliseconds=200))
    driver.now = until
    return read


def test_while_nothing_changes_the_waits_double() -> None:
    assert readings(AgentDriver(), HOUR) == [30, 90, 210, 450, 930, 1890]


def test_the_waits_never_exceed_half_an_hour() -> None:
    read = readings(AgentDriver(), 24 * HOUR)
    waits = {later - earlier for earlier, later in pairwise(read[5:])}
    assert waits == {30 * MINUTE}


def test_a_rule_that_is_longer_than_half_an_hour_holds() -> None:
    assert readings(AgentDriver(balance_every_s=2 * HOUR), 7 * HOUR) == [2 * HOUR, 4 * HOUR, 6 * HOUR]


def test_a_reading_that_differs_begins_anew() -> None:
    driver = AgentDriver()
    readings(driver, HOUR)
    began = (driver.now - START).total_seconds()
    read = readings(driver, 20 * MINUTE, funds=900_000)
    assert [at - read[0] for at in read[:3]] == [0, 30, 90]
    assert read[0] - began <= 30 * MINUTE


@pytest.mark.parametrize("event", ["a signal", "a settled payment", "new rules"])
def test_an_event_is_answered_by_a_reading_at_once_and_soon_by_another(event: str) -> None:
    driver = AgentDriver()
    driver.queue("r1")
    driver.start()
    readings(driver, HOUR)
    match event:
        case "a signal":
            driver.state.request_balances(driver.now)
        case "a settled payment":
            driver.delivered("r1")
        case "new rules":
            driver.state.change_rules(driver.state.spec.rules)
    assert driver.state.balances_are_due(driver.now)
    driver.read(1_000_000)
    assert not driver.state.balances_are_due(driver.now)
    driver.wait(EVERY)
    assert driver.state.balances_are_due(driver.now), "it may have come too early to see what has happened"


@pytest.mark.parametrize(
    ("event", "after_s"),
    [
        pytest.param("a signal", 0, id="a signal: at once"),
        pytest.param("new rules", 0, id="new rules: at once"),
        pytest.param("a settled payment", 5, id="a settled payment: soon"),
        pytest.param("a wait for a top-up", 5, id="a wait for a top-up: soon"),
        pytest.param("a settled payment, then a signal", 0, id="the sooner of two"),
        pytest.param("nothing", EVERY, id="nothing"),
    ],
)
def test_what_is_asked_for_during_a_reading_is_read_after_it(event: str, after_s: float) -> None:
    driver = AgentDriver()
    driver.queue("r1")
    driver.start()
    driver.wait(EVERY)
    driver.state.balances.begin_reading()
    driver.wait(2)
    for each in event.split(", then "):
        match each:
            case "a signal":
                driver.state.request_balances(driver.now)
            case "new rules":
                driver.state.change_rules(driver.state.spec.rules)
            case "a settled payment":
                driver.delivered("r1")
            case "a wait for a top-up":
                driver.state.balances.request_by(driver.now + timedelta(seconds=5))
    driver.wait(2)
    driver.end_reading(900_000)
    ended = driver.now
    assert driver.state.balances_are_due(ended) is (after_s == 0)
    read = readings(driver, 2 * EVERY, funds=900_000)
    assert read[0] == (ended - START).total_seconds() + after_s


def test_an_agent_without_money_is_never_longer_than_five_minutes_without_a_reading() -> None:
    driver = AgentDriver(funds=0)
    assert readings(driver, 20 * MINUTE, funds=0) == [30, 90, 210, 450, 750, 1050]


def test_a_watch_that_waits_for_its_currency_counts_as_without_money() -> None:
    watch = Watch(name="cash", url=A, every_s=HOUR, currency=Currency.CASH)
    driver = AgentDriver(watch, thresholds={Currency.USDC: 1, Currency.CASH: PRICE})
    cash = Spendable(
        currency=Currency.CASH, balance_atomic=0, spendable_atomic=0, limit="balance", account="another account"
    )
    both = [*driver.state.balances.readings, cash]
    for _ in range(10):
        driver.state.balances.next_reading = driver.now
        driver.state.record_balances(both, driver.now, driver.now)
    assert driver.state.balances.shortage is None
    assert driver.state.next_wake(driver.now) - driver.now <= timedelta(minutes=5)


def test_a_request_that_does_not_fit_brings_the_next_reading_forward() -> None:
    driver = AgentDriver(funds=5 * PRICE)
    driver.know_price(A, 10 * PRICE)
    readings(driver, 40 * MINUTE, funds=5 * PRICE)
    assert not driver.state.balances_are_due(driver.now)
    driver.queue("dear", A)
    assert driver.start() == []
    assert driver.state.balances_are_due(driver.now)
    driver.read(5 * PRICE)
    assert driver.state.next_wake(driver.now) - driver.now <= timedelta(minutes=5)


def test_before_it_buys_it_reads_what_it_has_not_read_for_long() -> None:
    driver = AgentDriver()
    readings(driver, HOUR)
    assert not driver.state.must_read_before_buying(driver.now), "nothing is to be bought"
    driver.queue("r1")
    assert driver.state.must_read_before_buying(driver.now)
    driver.read(0)
    assert not driver.state.must_read_before_buying(driver.now)
    assert driver.start() == [], "what the old reading had is gone"


def test_a_reading_of_just_now_is_good_enough_to_buy_by() -> None:
    driver = AgentDriver()
    driver.queue("r1")
    driver.wait(EVERY - 1)
    assert not driver.state.must_read_before_buying(driver.now)


def test_what_cannot_start_or_costs_nothing_needs_no_reading() -> None:
    driver = AgentDriver(max_in_flight=1)
    driver.know_price(B, 0)
    readings(driver, HOUR)
    driver.queue("free", B)
    assert not driver.state.must_read_before_buying(driver.now)
    assert driver.start() == ["free"]
    driver.queue("dear", A)
    assert not driver.state.must_read_before_buying(driver.now), "there is no slot"
    driver.notice("free", RequestStatus.FREE, final=False)
    assert driver.state.must_read_before_buying(driver.now)
    driver.state.pause = "lunch"
    assert not driver.state.must_read_before_buying(driver.now)


def test_while_the_chain_does_not_answer_no_purchase_asks_it() -> None:
    driver = AgentDriver()
    readings(driver, HOUR)
    driver.queue("r1")
    for _ in range(FAULTS):
        driver.state.record_balances_fault(driver.now)
    assert not driver.state.must_read_before_buying(driver.now)


def test_a_run_that_began_before_the_waits_grew_reads_as_it_did() -> None:
    driver = AgentDriver(funds=None)
    reading = Spendable(currency=Currency.USDC, balance_atomic=0, spendable_atomic=0, limit="balance", account="a")
    driver.queue("r1")
    for _ in range(10):
        driver.state.record_balances([reading], driver.now, driver.now, backs_off=False)
        assert driver.state.balances.next_reading == driver.now + timedelta(seconds=EVERY)
        driver.wait(EVERY)
        assert driver.state.balances_are_due(driver.now)
        assert not driver.state.must_read_before_buying(driver.now)
