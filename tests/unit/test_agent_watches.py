"""Data is bought when stale, not before; not all at once; and nothing is lost between two runs."""

from datetime import timedelta
from itertools import pairwise

import pytest

from autopay.domain.agent.spec import HISTORY_EVENTS, AgentSpec, Rules, Watch
from autopay.domain.agent.state.durable_state import DurableState
from autopay.domain.agent.steps import QueuedRequest
from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.payment.notice import Notice
from autopay.domain.phase import Phase
from autopay.domain.request import RequestSpec, RequestStatus
from tests.unit.agent_driver import PRICE, START, A, AgentDriver, B

WATCH = Watch(name="w", url=A, every_s=600)


def bought(driver: AgentDriver, seconds: float, step: float = 1.0) -> list[float]:
    """Let time pass while every payment is delivered at once; when something was bought, in seconds from the start."""
    times = []
    until = driver.now + timedelta(seconds=seconds)
    while driver.now < until:
        driver.due()
        for request_id in driver.start():
            times.append((driver.now - START).total_seconds())
            driver.delivered(request_id)
            driver.state.balances.paid_since.clear()
        driver.wait(step)
    return times


def test_a_watch_is_bought_once_a_window() -> None:
    times = bought(AgentDriver(WATCH), 3600)
    assert len(times) == 6
    assert all(later - earlier == pytest.approx(600, abs=1) for earlier, later in pairwise(times))


def test_a_hundred_watches_launched_together_are_spread_and_stay_so() -> None:
    watches = [Watch(name=f"w{number}", url=f"https://s{number}.example/x", every_s=300) for number in range(100)]
    driver, again = AgentDriver(*watches, max_in_flight=100), AgentDriver(*watches, max_in_flight=100)
    times = bought(driver, 1200)
    assert times == bought(again, 1200), "the same names, the same moments"
    assert max(times[:100]) <= 50
    most = max(sum(1 for time in times if second <= time < second + 5) for second in range(1200))
    assert most <= 25, "a quarter of them in five seconds at most, at any time"


def test_a_single_watch_does_not_wait_to_be_spread() -> None:
    assert bought(AgentDriver(WATCH), 10)[0] <= 1


def test_a_purchase_by_hand_keeps_a_watch_fresh() -> None:
    driver = AgentDriver(WATCH)
    bought(driver, 300)
    driver.queue("by-hand", A)
    driver.start()
    driver.delivered("by-hand")
    first = bought(driver, 3600)[0]
    assert first == pytest.approx(900, abs=2)


@pytest.mark.parametrize(
    ("asked", "window_s"),
    [
        ({}, 600),
        ({"max_age_s": 60}, 60),
        ({"max_age_s": 0}, None),
        ({"url": B}, None),
        ({"url": B, "max_age_s": 5}, 5),
        ({"method": "POST"}, None),
        ({"body_hash": "0" * 64}, None),
    ],
)
def test_a_request_by_hand_is_fresh_within_its_own_age_or_the_watchs_window(
    asked: dict[str, object], window_s: int | None
) -> None:
    driver = AgentDriver(WATCH)
    spec = RequestSpec.model_validate({"request_id": "r", "url": A} | asked)
    since = driver.state.fresh_since(spec, driver.now)
    assert since == (driver.now - timedelta(seconds=window_s) if window_s else None)


def test_a_watch_asks_what_was_bought_before_only_before_its_first_purchase() -> None:
    driver = AgentDriver(WATCH)
    assert driver.state.fresh_since(WATCH.spec(driver.now), driver.now) == driver.now - timedelta(seconds=600)
    bought(driver, 10)
    assert driver.state.fresh_since(WATCH.spec(driver.now), driver.now) is None


def test_what_was_fresh_at_launch_is_bought_when_it_is_stale() -> None:
    driver = AgentDriver(WATCH)
    request = QueuedRequest(request_id="w-1", url=A, queued_at=driver.now, watch="w")
    driver.state.record_fresh_answer(request, driver.now - timedelta(seconds=500))
    assert bought(driver, 600)[0] == pytest.approx(100, abs=1)
    assert driver.status().fresh == 1


def test_a_watch_without_content_is_tried_again_sooner_and_then_less_often() -> None:
    driver, times = AgentDriver(WATCH), []
    for _ in range(30_000):
        driver.due()
        for request_id in driver.start():
            times.append((driver.now - START).total_seconds())
            driver.notice(request_id, RequestStatus.REFUSED, error="price_above_maximum")
        driver.wait(1)
    waits = [round(later - earlier) for earlier, later in pairwise(times)]
    assert waits[:4] == [5, 10, 20, 40]
    assert max(waits) <= 3600
    assert waits == sorted(waits)


def test_what_was_paid_and_not_delivered_is_not_bought_again_within_its_window() -> None:
    driver = AgentDriver(WATCH)
    driver.wait(1)
    driver.due()
    (request_id,) = driver.start()
    driver.notice(request_id, RequestStatus.UNDELIVERED, currency=Currency.USDC, amount_atomic=PRICE, transaction="s")
    driver.wait(599)
    assert driver.due() == []
    driver.wait(2)
    assert driver.due() == ["w"]


def test_a_paused_watch_has_no_next() -> None:
    driver = AgentDriver(WATCH)
    driver.state.pause = "lunch"
    driver.wait(7200)
    (watch,) = driver.status().watches
    assert (watch.next_due, watch.waits) == (None, "paused")
    assert watch.stale_since is not None
    driver.state.pause = None
    (watch,) = driver.status().watches
    assert watch.next_due == driver.now


# Between two runs


def test_a_run_carries_what_the_ledger_does_not_know() -> None:
    driver = AgentDriver(WATCH)
    bought(driver, 10)
    driver.queue("waits", B)
    driver.queue("begun", B)
    carried = DurableState.model_validate_json(driver.state.for_next_run().model_dump_json())
    assert carried.queue.waiting == []
    assert carried.schedule == driver.state.schedule
    assert (carried.counters, carried.prices) == (driver.state.counters, driver.state.prices)
    assert (carried.counters.payments, carried.counters.spent_atomic) == (1, {Currency.USDC: PRICE})


def test_what_ended_between_two_runs_is_counted_once() -> None:
    driver = AgentDriver()
    for name in ("ended", "open", "waiting"):
        driver.queue(name, f"https://{name}.example/x")
    driver.start()
    before = driver.state
    driver.state = DurableState.model_validate_json(before.for_next_run().model_dump_json())
    still_open, waiting = [before.queue.in_flight["open"]], [before.queue.in_flight["waiting"]]
    driver.state.load_backlog(waiting, still_open, {"open": START})
    assert [request.request_id for request in driver.state.queue.waiting] == ["waiting"]
    assert driver.state.queue.ledger_check_is_due(driver.now), "the ledger knows how the ended one ended"
    assert [each.request_id for each in driver.status().held] == ["open"]
    for _ in range(2):
        driver.delivered("ended")
    assert driver.status().payments == 1
    driver.delivered("waiting")
    assert driver.status().payments == 2
    assert driver.state.queue.waiting == [], "it had been begun after all"


def test_what_a_run_carries_stays_far_below_two_megabytes() -> None:
    name = "n" * 90
    watches = [
        Watch(name=f"{name}{number}", url=f"https://s{number}.example/{'x' * 2000}", every_s=60)
        for number in range(200)
    ]
    driver = AgentDriver(*watches, max_in_flight=100, queue_limit=1000, funds=10**12)
    driver.state.schedule.update("buyer", tuple(watches), driver.now)
    for number in range(1200):
        request_id = f"{number:04}{'r' * 110}"
        driver.queue(request_id, f"https://s{number}.example/{'y' * 2000}")
        driver.start()
        notice = Notice(
            request_id=request_id,
            status=RequestStatus.WAITING,
            final=False,
            held="approval",
            message="m" * 400,
            currency=Currency.USDC,
            amount_atomic=PRICE,
        )
        driver.state.apply_notice(notice, driver.now)
    assert len(driver.state.queue.held) == 1200
    assert len(driver.state.for_next_run().model_dump_json()) < 1_700_000


# Values


def test_the_values_of_rules_and_specs_are_checked() -> None:
    for wrong in (
        {"thresholds": {"USDC": -1}},
        {"thresholds": {"EUR": 1}},
        {"max_in_flight": 0},
        {"queue_limit": 100_000},
        {"history_events": 10},
        {"unknown": 1},
    ):
        with pytest.raises(ValueError, match="validation error"):
            Rules.model_validate(wrong)
    assert AgentSpec(name="a", network=Network.MAINNET, phase=Phase.FULL).network == Network.MAINNET


@pytest.mark.parametrize(
    ("sent", "is_of_0_2", "events"),
    [
        pytest.param({"name": "a"}, True, 10_000, id="0.2.0-began-it-without-rules"),
        pytest.param({"name": "a", "rules": {"max_in_flight": 2}}, True, 10_000, id="0.2.0-began-it-with-other-rules"),
        pytest.param({"name": "a", "rules": {"history_events": 300}}, True, 300, id="0.2.0-began-it-with-this-rule"),
        pytest.param({"name": "a"}, False, HISTORY_EVENTS, id="this-release-began-it"),
    ],
)
def test_a_run_keeps_the_number_of_events_that_its_release_ended_it_at(
    sent: dict[str, object], is_of_0_2: bool, events: int
) -> None:
    state = DurableState(spec=AgentSpec.model_validate(sent))
    assert state.spec.rules.events_of_a_run(is_of_0_2=is_of_0_2) == events
