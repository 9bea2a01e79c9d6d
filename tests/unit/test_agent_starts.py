"""What an agent starts: fair to sellers, within its money, around what is down or waits for a person."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from autopay.domain.agent.spec import Watch
from autopay.domain.agent.state.breakers import FAULTS, OPEN_FOR
from autopay.domain.agent.state.priority import HIGHEST, LOWEST
from autopay.domain.agent.status import AgentState, BreakerState
from autopay.domain.agent.steps import QueuedRequest
from autopay.domain.money import Currency
from autopay.domain.phase import Phase
from autopay.domain.request import RequestSpec, RequestStatus
from tests.unit.agent_driver import PRICE, START, A, AgentDriver, B, C

# Slots


def test_a_seller_may_hold_fewer_slots_than_are_free() -> None:
    driver = AgentDriver(max_in_flight=8)
    for number in range(10):
        driver.queue(f"a{number}", A)
    assert len(driver.start()) == 4
    for number in range(10):
        driver.queue(f"b{number}", B)
        driver.queue(f"c{number}", C)
    started = driver.start()
    assert sorted({request_id[0] for request_id in started}) == ["b", "c"]
    assert len(started) == 3


def test_sellers_that_hang_leave_a_slot_to_one_that_answers() -> None:
    driver = AgentDriver(max_in_flight=8)
    for seller in "abc":
        for number in range(10):
            driver.queue(f"{seller}{number}", f"https://{seller}.example/x")
    driver.start()
    for number in range(20):
        driver.queue(f"well{number}", "https://well.example/x")
    served = []
    while (started := driver.start()) and started[0].startswith("well"):
        served += started
        for request_id in started:
            driver.delivered(request_id)
    assert len(served) == 20


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_few_slots_serve_a_single_seller(slots: int) -> None:
    driver = AgentDriver(max_in_flight=slots)
    driver.queue("only", A)
    assert driver.start() == ["only"]


# Breakers


def broken(driver: AgentDriver, url: str = A) -> None:
    for number in range(FAULTS):
        driver.queue(f"fault{number}", url)
        driver.start()
        driver.silent(f"fault{number}")


def test_while_a_sellers_breaker_is_open_its_requests_wait_and_the_rest_go_on() -> None:
    driver = AgentDriver()
    broken(driver)
    driver.queue("down", A)
    driver.queue("well", B)
    assert driver.start() == ["well"]
    status = driver.status()
    assert [(each.of, each.state) for each in status.breakers] == [("a.example:443", BreakerState.OPEN)]
    assert status.next[0].waits == "its seller does not answer"
    assert driver.state.next_wake(driver.now) <= driver.now + OPEN_FOR.first


def test_a_single_request_probes_the_seller_and_its_success_frees_the_rest() -> None:
    driver = AgentDriver()
    broken(driver)
    for number in range(3):
        driver.queue(f"r{number}", A)
    assert driver.start_one() is None
    driver.wait(30)
    assert driver.start_one() == ("r0", BreakerState.HALF_OPEN)
    assert driver.start_one() is None
    driver.delivered("r0")
    assert driver.start_one() == ("r1", BreakerState.CLOSED)
    assert driver.start_one() == ("r2", BreakerState.CLOSED)


def test_a_canceled_probe_lets_another_probe() -> None:
    driver = AgentDriver()
    broken(driver)
    driver.queue("r0", A)
    driver.queue("r1", A)
    driver.wait(30)
    driver.start()
    driver.notice("r0", RequestStatus.REFUSED, error="canceled")
    assert driver.start() == ["r1"]


def test_while_the_chain_is_away_free_and_unknown_requests_go_on_and_payments_wait() -> None:
    driver = AgentDriver()
    driver.know_price(A, PRICE)
    driver.know_price(B, 0)
    for _ in range(FAULTS):
        driver.state.record_balances_fault(driver.now)
    assert not driver.state.balances_are_due(driver.now)
    for name, url in (("paid", A), ("free", B), ("unknown", C)):
        driver.queue(name, url)
    assert driver.start() == ["free", "unknown"]
    assert driver.status().next[0].waits == "the chain does not answer"
    driver.wait(30)
    assert driver.start() == [], "the balances are the probe, not a payment"
    assert driver.state.balances_are_due(driver.now)
    driver.read(1_000_000)
    assert driver.start() == ["paid"]


def test_requests_that_the_chain_holds_open_its_breaker() -> None:
    driver = AgentDriver()
    driver.know_price(A, PRICE)
    for number, url in enumerate((A, B, C)):
        driver.queue(f"r{number}", url)
    for request_id in driver.start():
        driver.hold(request_id, "chain", "chain_unavailable")
    driver.queue("next", A)
    assert driver.start() == []
    driver.hold("r0", None)
    assert driver.start() == ["next"], "one that goes on has been answered by the chain"


# Held requests


def test_a_held_request_takes_no_slot_and_its_watch_is_busy() -> None:
    driver = AgentDriver(Watch(name="w", url=A, every_s=60), max_in_flight=1)
    driver.wait(1)
    (name,) = driver.due()
    (held,) = driver.start()
    assert held.startswith(name)
    driver.hold(held, "approval")
    driver.queue("other", B)
    assert driver.start() == ["other"]
    driver.wait(600)
    assert driver.due() == []
    status = driver.status()
    assert [(each.request_id, each.why, each.since) for each in status.held] == [
        (held, "approval", status.held[0].since)
    ]
    assert (status.in_flight, status.watches[0].waits) == (("other",), "held: approval")
    driver.delivered("other")
    driver.hold(held, None)
    assert driver.status().in_flight == (held,)
    driver.delivered(held)
    assert (driver.status().held, driver.status().payments) == ((), 2)


def test_a_stopped_agent_leaves_held_requests_to_themselves() -> None:
    driver = AgentDriver()
    driver.queue("held")
    driver.start()
    driver.state.stopping = True
    assert not driver.state.is_finished()
    driver.hold("held", "approval")
    assert driver.state.is_finished()


def test_held_requests_fill_the_queues_limit() -> None:
    driver = AgentDriver(queue_limit=2)
    for name, url in (("one", A), ("two", B)):
        driver.queue(name, url)
        driver.start()
        driver.hold(name, "approval")
    assert driver.state.queue.is_full(2)


# Money


def test_no_more_starts_than_the_known_prices_allow() -> None:
    driver = AgentDriver(funds=10 * PRICE, buy_what_fits=True)
    driver.know_price(A, 4 * PRICE)
    for number in range(4):
        driver.queue(f"r{number}", A)
    assert driver.start() == ["r0", "r1"]
    driver.delivered("r0", 4 * PRICE)
    assert driver.start() == [], "it is paid, and the reading of before does not know that"
    driver.delivered("r1", 4 * PRICE)
    driver.read(2 * PRICE)
    assert driver.start() == []


def test_an_unknown_price_counts_as_the_requests_maximum_or_goes_alone() -> None:
    driver = AgentDriver(funds=10 * PRICE)
    driver.queue("six", A, max_price_atomic=6 * PRICE)
    driver.queue("five", B, max_price_atomic=5 * PRICE)
    driver.queue("four", C, max_price_atomic=4 * PRICE)
    assert driver.start() == ["six", "four"]
    driver.delivered("six", PRICE)
    driver.delivered("four", PRICE)
    driver.read(8 * PRICE)
    assert driver.start() == ["five"]
    alone = AgentDriver(funds=10 * PRICE)
    alone.queue("twenty", A, max_price_atomic=20 * PRICE)
    assert alone.start() == ["twenty"], "how else would its price ever be known"


def test_what_does_not_fit_keeps_what_is_behind_it_waiting() -> None:
    driver = AgentDriver(funds=10 * PRICE)
    driver.know_price(A, 20 * PRICE)
    driver.know_price(B, PRICE)
    driver.know_price(C, 0)
    driver.queue("dear", A)
    driver.wait(600)
    driver.queue("cheap", B)
    driver.queue("free", C)
    assert driver.start() == ["free"]
    driver.notice("free", RequestStatus.FREE)
    assert driver.status().reason == "dear waits for money: it costs 0.02 USDC, 0.01 USDC is spendable"
    assert driver.state.needs_top_up(driver.now)
    driver.read(30 * PRICE)
    assert driver.start() == ["dear", "cheap"]


def test_with_buy_what_fits_cheaper_ones_go_on_below_the_threshold_too() -> None:
    driver = AgentDriver(funds=PRICE, buy_what_fits=True)
    driver.know_price(A, 20 * PRICE)
    driver.know_price(B, PRICE)
    driver.queue("dear", A)
    driver.wait(600)
    driver.queue("cheap", B)
    assert driver.state.state == AgentState.RUNNING
    assert driver.start() == ["cheap"]


def test_below_its_threshold_the_agent_pauses_and_says_what_it_takes() -> None:
    driver = AgentDriver(funds=PRICE)
    driver.queue("r", A)
    assert (driver.state.state, driver.start()) == (AgentState.PAUSED, [])
    assert driver.status().reason == (
        "0.001 USDC spendable (balance), 0.002 USDC needed: 0.001 USDC or more to account lets it go on"
    )
    assert driver.state.needs_top_up(driver.now)
    driver.read(2 * PRICE)
    assert driver.start() == ["r"]


def test_a_currency_that_is_used_up_stops_its_watches_only() -> None:
    watches = [Watch(name="cash", url=B, every_s=60, currency=Currency.CASH), Watch(name="usdc", url=A, every_s=60)]
    driver = AgentDriver(*watches, thresholds={Currency.USDC: 2 * PRICE, Currency.CASH: 10})
    driver.state.spec = driver.state.spec.model_copy(update={"currencies": (Currency.USDC, Currency.CASH)})
    cash = driver.state.balances.readings[0].model_copy(update={"currency": Currency.CASH, "spendable_atomic": 5})
    driver.state.record_balances([*driver.state.balances.readings, cash], driver.now, driver.now)
    driver.wait(2)
    assert driver.due() == ["usdc"]
    assert "cash must wait: 0.000005 USDC" not in (reason := driver.status().reason or "")
    assert "cash must wait: 0.000005 CASH spendable" in reason


def test_nothing_with_a_known_price_starts_before_the_balances_are_known() -> None:
    driver = AgentDriver()
    driver.know_price(A, PRICE)
    driver.state.balances.readings.clear()
    driver.queue("known", A)
    driver.queue("unknown", C)
    assert driver.start() == ["unknown"]


# Order


@pytest.mark.parametrize("arrivals", [2, 3])
def test_every_request_is_served_in_bounded_time_whatever_else_arrives(arrivals: int) -> None:
    driver = AgentDriver(max_in_flight=1)
    last = QueuedRequest(request_id="last", url=A, score=LOWEST, queued_at=driver.now)
    driver.state.queue.add(last)
    may_overtake = served = number = 0
    while True:
        for _ in range(arrivals):  # always more than can be served, and always worth the most that there is
            first = QueuedRequest(request_id=f"r{number}", url=B, score=HIGHEST, queued_at=driver.now)
            driver.state.queue.add(first)
            number += 1
        if driver.now - START <= timedelta(minutes=HIGHEST - LOWEST):
            may_overtake = number
        (request_id,) = driver.start()
        if request_id == "last":
            break
        driver.delivered(request_id, 0)
        served += 1
        driver.wait(10)
    assert served <= may_overtake
    assert number > may_overtake, "the flood had not ended"


def test_a_demo_starts_no_more_than_its_payments_and_counts_from_its_beginning() -> None:
    driver = AgentDriver(phase=Phase.DEMO, demo_payments=2)
    for number in range(5):
        driver.queue(f"r{number}", f"https://s{number}.example/x")
    assert driver.start() == ["r0", "r1"]
    driver.delivered("r0")
    driver.delivered("r1")
    assert driver.state.is_finished()
    driver.state.change_phase(Phase.FULL)
    assert driver.start() == ["r2", "r3", "r4"]
    driver.state.change_phase(Phase.DEMO)
    assert driver.state.demo_is_over(), "three are under way"
    assert not driver.state.is_finished()


@pytest.mark.parametrize(
    ("reason", "kept"),
    [
        pytest.param("over night", "over night", id="as it is"),
        pytest.param(None, "paused by signal", id="none"),
        pytest.param("", "paused by signal", id="empty"),
        pytest.param("a\x00b\x1b[31m", "a�b�[31m", id="NUL and control characters, which the ledger would not take"),
        pytest.param("x" * 5_000, "x" * 400, id="long"),
    ],
)
def test_a_reason_for_a_pause_is_kept_as_far_as_it_can_be_shown(reason: str | None, kept: str) -> None:
    driver = AgentDriver()
    driver.state.pause_for(reason)
    assert driver.state.pause == kept


@pytest.mark.parametrize("field", ["watch", "sealed_extras", "url", "request_id", "body_hash"])
def test_a_request_with_a_nul_is_no_request(field: str) -> None:
    values = {"request_id": "r", "url": A, field: f"{A}\x00"}
    with pytest.raises(ValidationError):
        RequestSpec.model_validate(values)
