"""What an agent starts: fair to sellers, within its money, around what is down or waits for a person."""

from datetime import timedelta

import pytest

from autopay.domain.agent.breakers import FAULTS, OPEN_FOR, BreakerState
from autopay.domain.agent.priority import HIGHEST, LOWEST
from autopay.domain.agent.spec import Watch
from autopay.domain.agent.status import AgentState
from autopay.domain.agent.steps import QueuedRequest
from autopay.domain.money import Currency
from autopay.domain.phase import Phase
from autopay.domain.request import RequestStatus
from tests.unit.agent_desk import PRICE, START, A, B, C, Desk

# Slots


def test_a_seller_may_hold_fewer_slots_than_are_free() -> None:
    desk = Desk(max_in_flight=8)
    for number in range(10):
        desk.queue(f"a{number}", A)
    assert len(desk.start()) == 4
    for number in range(10):
        desk.queue(f"b{number}", B)
        desk.queue(f"c{number}", C)
    started = desk.start()
    assert sorted({request_id[0] for request_id in started}) == ["b", "c"]
    assert len(started) == 3


def test_sellers_that_hang_leave_a_slot_to_one_that_answers() -> None:
    desk = Desk(max_in_flight=8)
    for seller in "abc":
        for number in range(10):
            desk.queue(f"{seller}{number}", f"https://{seller}.example/x")
    desk.start()
    for number in range(20):
        desk.queue(f"well{number}", "https://well.example/x")
    served = []
    while (started := desk.start()) and started[0].startswith("well"):
        served += started
        for request_id in started:
            desk.delivered(request_id)
    assert len(served) == 20


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_few_slots_serve_a_single_seller(slots: int) -> None:
    desk = Desk(max_in_flight=slots)
    desk.queue("only", A)
    assert desk.start() == ["only"]


# Breakers


def broken(desk: Desk, url: str = A) -> None:
    for number in range(FAULTS):
        desk.queue(f"fault{number}", url)
        desk.start()
        desk.silent(f"fault{number}")


def test_while_a_sellers_breaker_is_open_its_requests_wait_and_the_rest_go_on() -> None:
    desk = Desk()
    broken(desk)
    desk.queue("down", A)
    desk.queue("well", B)
    assert desk.start() == ["well"]
    status = desk.status()
    assert [(each.of, each.state) for each in status.breakers] == [("a.example:443", BreakerState.OPEN)]
    assert status.next[0].waits == "its seller does not answer"
    assert desk.state.next_wake(desk.now) <= desk.now + OPEN_FOR.first


def test_a_single_request_probes_the_seller_and_its_success_frees_the_rest() -> None:
    desk = Desk()
    broken(desk)
    for number in range(3):
        desk.queue(f"r{number}", A)
    assert desk.start_one() is None
    desk.wait(30)
    assert desk.start_one() == ("r0", BreakerState.HALF_OPEN)
    assert desk.start_one() is None
    desk.delivered("r0")
    assert desk.start_one() == ("r1", BreakerState.CLOSED)
    assert desk.start_one() == ("r2", BreakerState.CLOSED)


def test_a_canceled_probe_lets_another_probe() -> None:
    desk = Desk()
    broken(desk)
    desk.queue("r0", A)
    desk.queue("r1", A)
    desk.wait(30)
    desk.start()
    desk.notice("r0", RequestStatus.REFUSED, error="canceled")
    assert desk.start() == ["r1"]


def test_while_the_chain_is_away_free_and_unknown_requests_go_on_and_payments_wait() -> None:
    desk = Desk()
    desk.know_price(A, PRICE)
    desk.know_price(B, 0)
    for _ in range(FAULTS):
        desk.state.record_balances_fault(desk.now)
    assert not desk.state.balances_are_due(desk.now)
    for name, url in (("paid", A), ("free", B), ("unknown", C)):
        desk.queue(name, url)
    assert desk.start() == ["free", "unknown"]
    assert desk.status().next[0].waits == "the chain does not answer"
    desk.wait(30)
    assert desk.start() == [], "the balances are the probe, not a payment"
    assert desk.state.balances_are_due(desk.now)
    desk.read(1_000_000)
    assert desk.start() == ["paid"]


def test_requests_that_the_chain_holds_open_its_breaker() -> None:
    desk = Desk()
    desk.know_price(A, PRICE)
    for number, url in enumerate((A, B, C)):
        desk.queue(f"r{number}", url)
    for request_id in desk.start():
        desk.hold(request_id, "chain", "chain_unavailable")
    desk.queue("next", A)
    assert desk.start() == []
    desk.hold("r0", None)
    assert desk.start() == ["next"], "one that goes on has been answered by the chain"


# Held requests


def test_a_held_request_takes_no_slot_and_its_watch_is_busy() -> None:
    desk = Desk(Watch(name="w", url=A, every_s=60), max_in_flight=1)
    desk.wait(1)
    (name,) = desk.due()
    (held,) = desk.start()
    assert held.startswith(name)
    desk.hold(held, "approval")
    desk.queue("other", B)
    assert desk.start() == ["other"]
    desk.wait(600)
    assert desk.due() == []
    status = desk.status()
    assert [(each.request_id, each.why, each.since) for each in status.held] == [
        (held, "approval", status.held[0].since)
    ]
    assert (status.in_flight, status.watches[0].waits) == (("other",), "held: approval")
    desk.delivered("other")
    desk.hold(held, None)
    assert desk.status().in_flight == (held,)
    desk.delivered(held)
    assert (desk.status().held, desk.status().payments) == ((), 2)


def test_a_stopped_agent_leaves_held_requests_to_themselves() -> None:
    desk = Desk()
    desk.queue("held")
    desk.start()
    desk.state.stopping = True
    assert not desk.state.is_finished()
    desk.hold("held", "approval")
    assert desk.state.is_finished()


def test_held_requests_fill_the_queues_limit() -> None:
    desk = Desk(queue_limit=2)
    for name, url in (("one", A), ("two", B)):
        desk.queue(name, url)
        desk.start()
        desk.hold(name, "approval")
    assert desk.state.queue.is_full(2)


# Money


def test_no_more_starts_than_the_known_prices_allow() -> None:
    desk = Desk(funds=10 * PRICE, buy_what_fits=True)
    desk.know_price(A, 4 * PRICE)
    for number in range(4):
        desk.queue(f"r{number}", A)
    assert desk.start() == ["r0", "r1"]
    desk.delivered("r0", 4 * PRICE)
    assert desk.start() == [], "it is paid, and the reading of before does not know that"
    desk.delivered("r1", 4 * PRICE)
    desk.read(2 * PRICE)
    assert desk.start() == []


def test_an_unknown_price_counts_as_the_requests_maximum_or_goes_alone() -> None:
    desk = Desk(funds=10 * PRICE)
    desk.queue("six", A, max_price_atomic=6 * PRICE)
    desk.queue("five", B, max_price_atomic=5 * PRICE)
    desk.queue("four", C, max_price_atomic=4 * PRICE)
    assert desk.start() == ["six", "four"]
    desk.delivered("six", PRICE)
    desk.delivered("four", PRICE)
    desk.read(8 * PRICE)
    assert desk.start() == ["five"]
    alone = Desk(funds=10 * PRICE)
    alone.queue("twenty", A, max_price_atomic=20 * PRICE)
    assert alone.start() == ["twenty"], "how else would its price ever be known"


def test_what_does_not_fit_keeps_what_is_behind_it_waiting() -> None:
    desk = Desk(funds=10 * PRICE)
    desk.know_price(A, 20 * PRICE)
    desk.know_price(B, PRICE)
    desk.know_price(C, 0)
    desk.queue("dear", A)
    desk.wait(600)
    desk.queue("cheap", B)
    desk.queue("free", C)
    assert desk.start() == ["free"]
    desk.notice("free", RequestStatus.FREE)
    assert desk.status().reason == "dear waits for money: it costs 0.02 USDC, 0.01 USDC is spendable"
    assert desk.state.needs_top_up(desk.now)
    desk.read(30 * PRICE)
    assert desk.start() == ["dear", "cheap"]


def test_with_buy_what_fits_cheaper_ones_go_on_below_the_threshold_too() -> None:
    desk = Desk(funds=PRICE, buy_what_fits=True)
    desk.know_price(A, 20 * PRICE)
    desk.know_price(B, PRICE)
    desk.queue("dear", A)
    desk.wait(600)
    desk.queue("cheap", B)
    assert desk.state.state == AgentState.RUNNING
    assert desk.start() == ["cheap"]


def test_below_its_threshold_the_agent_pauses_and_says_what_it_takes() -> None:
    desk = Desk(funds=PRICE)
    desk.queue("r", A)
    assert (desk.state.state, desk.start()) == (AgentState.PAUSED, [])
    assert desk.status().reason == (
        "0.001 USDC spendable (balance), 0.002 USDC needed: 0.001 USDC or more to account lets it go on"
    )
    assert desk.state.needs_top_up(desk.now)
    desk.read(2 * PRICE)
    assert desk.start() == ["r"]


def test_a_currency_that_is_used_up_stops_its_watches_only() -> None:
    watches = [Watch(name="cash", url=B, every_s=60, currency=Currency.CASH), Watch(name="usdc", url=A, every_s=60)]
    desk = Desk(*watches, thresholds={Currency.USDC: 2 * PRICE, Currency.CASH: 10})
    desk.state.spec = desk.state.spec.model_copy(update={"currencies": (Currency.USDC, Currency.CASH)})
    cash = desk.state.balances.readings[0].model_copy(update={"currency": Currency.CASH, "spendable_atomic": 5})
    desk.state.record_balances([*desk.state.balances.readings, cash], desk.now, desk.now)
    desk.wait(2)
    assert desk.due() == ["usdc"]
    assert "cash must wait: 0.000005 USDC" not in (reason := desk.status().reason or "")
    assert "cash must wait: 0.000005 CASH spendable" in reason


def test_nothing_with_a_known_price_starts_before_the_balances_are_known() -> None:
    desk = Desk()
    desk.know_price(A, PRICE)
    desk.state.balances.readings.clear()
    desk.queue("known", A)
    desk.queue("unknown", C)
    assert desk.start() == ["unknown"]


# Order


@pytest.mark.parametrize("arrivals", [2, 3])
def test_every_request_is_served_in_bounded_time_whatever_else_arrives(arrivals: int) -> None:
    desk = Desk(max_in_flight=1)
    last = QueuedRequest(request_id="last", url=A, score=LOWEST, queued_at=desk.now)
    desk.state.queue.add(last)
    may_overtake = served = number = 0
    while True:
        for _ in range(arrivals):  # always more than can be served, and always worth the most that there is
            first = QueuedRequest(request_id=f"r{number}", url=B, score=HIGHEST, queued_at=desk.now)
            desk.state.queue.add(first)
            number += 1
        if desk.now - START <= timedelta(minutes=HIGHEST - LOWEST):
            may_overtake = number
        (request_id,) = desk.start()
        if request_id == "last":
            break
        desk.delivered(request_id, 0)
        served += 1
        desk.wait(10)
    assert served <= may_overtake
    assert number > may_overtake, "the flood had not ended"


def test_a_demo_starts_no_more_than_its_payments_and_counts_from_its_beginning() -> None:
    desk = Desk(phase=Phase.DEMO, demo_payments=2)
    for number in range(5):
        desk.queue(f"r{number}", f"https://s{number}.example/x")
    assert desk.start() == ["r0", "r1"]
    desk.delivered("r0")
    desk.delivered("r1")
    assert desk.state.is_finished()
    desk.state.change_phase(Phase.FULL)
    assert desk.start() == ["r2", "r3", "r4"]
    desk.state.change_phase(Phase.DEMO)
    assert desk.state.demo_is_over(), "three are under way"
    assert not desk.state.is_finished()
