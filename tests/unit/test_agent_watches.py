"""Data is bought when stale, not before; not all at once; and nothing is lost between two runs."""

from datetime import timedelta
from itertools import pairwise

import pytest

from autopay.domain.agent.spec import AgentSpec, Rules, Watch
from autopay.domain.agent.state import DurableState
from autopay.domain.agent.steps import QueuedRequest
from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.payment.notice import Notice
from autopay.domain.phase import Phase
from autopay.domain.request import RequestSpec, RequestStatus
from tests.unit.agent_desk import PRICE, START, A, B, Desk

WATCH = Watch(name="w", url=A, every_s=600)


def bought(desk: Desk, seconds: float, step: float = 1.0) -> list[float]:
    """Let time pass while every payment is delivered at once; when something was bought, in seconds from the start."""
    times = []
    until = desk.now + timedelta(seconds=seconds)
    while desk.now < until:
        desk.due()
        for request_id in desk.start():
            times.append((desk.now - START).total_seconds())
            desk.delivered(request_id)
            desk.state.balances.paid_since.clear()
        desk.wait(step)
    return times


def test_a_watch_is_bought_once_a_window() -> None:
    times = bought(Desk(WATCH), 3600)
    assert len(times) == 6
    assert all(later - earlier == pytest.approx(600, abs=1) for earlier, later in pairwise(times))


def test_a_hundred_watches_launched_together_are_spread_and_stay_so() -> None:
    watches = [Watch(name=f"w{number}", url=f"https://s{number}.example/x", every_s=300) for number in range(100)]
    desk, again = Desk(*watches, max_in_flight=100), Desk(*watches, max_in_flight=100)
    times = bought(desk, 1200)
    assert times == bought(again, 1200), "the same names, the same moments"
    assert max(times[:100]) <= 50
    most = max(sum(1 for time in times if second <= time < second + 5) for second in range(1200))
    assert most <= 25, "a quarter of them in five seconds at most, at any time"


def test_a_single_watch_does_not_wait_to_be_spread() -> None:
    assert bought(Desk(WATCH), 10)[0] <= 1


def test_a_purchase_by_hand_keeps_a_watch_fresh() -> None:
    desk = Desk(WATCH)
    bought(desk, 300)
    desk.queue("by-hand", A)
    desk.start()
    desk.delivered("by-hand")
    first = bought(desk, 3600)[0]
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
    desk = Desk(WATCH)
    spec = RequestSpec.model_validate({"request_id": "r", "url": A} | asked)
    since = desk.state.fresh_since(spec, desk.now)
    assert since == (desk.now - timedelta(seconds=window_s) if window_s else None)


def test_a_watch_asks_what_was_bought_before_only_before_its_first_purchase() -> None:
    desk = Desk(WATCH)
    assert desk.state.fresh_since(WATCH.spec(desk.now), desk.now) == desk.now - timedelta(seconds=600)
    bought(desk, 10)
    assert desk.state.fresh_since(WATCH.spec(desk.now), desk.now) is None


def test_what_was_fresh_at_launch_is_bought_when_it_is_stale() -> None:
    desk = Desk(WATCH)
    request = QueuedRequest(request_id="w-1", url=A, queued_at=desk.now, watch="w")
    desk.state.record_fresh_answer(request, desk.now - timedelta(seconds=500))
    assert bought(desk, 600)[0] == pytest.approx(100, abs=1)
    assert desk.status().fresh == 1


def test_a_watch_without_content_is_tried_again_sooner_and_then_less_often() -> None:
    desk, times = Desk(WATCH), []
    for _ in range(30_000):
        desk.due()
        for request_id in desk.start():
            times.append((desk.now - START).total_seconds())
            desk.notice(request_id, RequestStatus.REFUSED, error="price_above_maximum")
        desk.wait(1)
    waits = [round(later - earlier) for earlier, later in pairwise(times)]
    assert waits[:4] == [5, 10, 20, 40]
    assert max(waits) <= 3600
    assert waits == sorted(waits)


def test_what_was_paid_and_not_delivered_is_not_bought_again_within_its_window() -> None:
    desk = Desk(WATCH)
    desk.wait(1)
    desk.due()
    (request_id,) = desk.start()
    desk.notice(request_id, RequestStatus.UNDELIVERED, currency=Currency.USDC, amount_atomic=PRICE, transaction="s")
    desk.wait(599)
    assert desk.due() == []
    desk.wait(2)
    assert desk.due() == ["w"]


def test_a_paused_watch_has_no_next() -> None:
    desk = Desk(WATCH)
    desk.state.pause = "lunch"
    desk.wait(7200)
    (watch,) = desk.status().watches
    assert (watch.next_due, watch.waits) == (None, "paused")
    assert watch.stale_since is not None
    desk.state.pause = None
    (watch,) = desk.status().watches
    assert watch.next_due == desk.now


# Between two runs


def test_a_run_carries_what_the_ledger_does_not_know() -> None:
    desk = Desk(WATCH)
    bought(desk, 10)
    desk.queue("waits", B)
    desk.queue("begun", B)
    carried = DurableState.model_validate_json(desk.state.for_next_run().model_dump_json())
    assert carried.queue.waiting == []
    assert carried.schedule == desk.state.schedule
    assert (carried.counters, carried.prices) == (desk.state.counters, desk.state.prices)
    assert (carried.counters.payments, carried.counters.spent_atomic) == (1, {Currency.USDC: PRICE})


def test_what_ended_between_two_runs_is_counted_once() -> None:
    desk = Desk()
    for name in ("ended", "open", "waiting"):
        desk.queue(name, f"https://{name}.example/x")
    desk.start()
    before = desk.state
    desk.state = DurableState.model_validate_json(before.for_next_run().model_dump_json())
    still_open, waiting = [before.queue.in_flight["open"]], [before.queue.in_flight["waiting"]]
    desk.state.load_backlog(waiting, still_open, {"open": START})
    assert [request.request_id for request in desk.state.queue.waiting] == ["waiting"]
    assert desk.state.queue.ledger_check_is_due(desk.now), "the ledger knows how the ended one ended"
    assert [each.request_id for each in desk.status().held] == ["open"]
    for _ in range(2):
        desk.delivered("ended")
    assert desk.status().payments == 1
    desk.delivered("waiting")
    assert desk.status().payments == 2
    assert desk.state.queue.waiting == [], "it had been begun after all"


def test_what_a_run_carries_stays_far_below_two_megabytes() -> None:
    name = "n" * 90
    watches = [
        Watch(name=f"{name}{number}", url=f"https://s{number}.example/{'x' * 2000}", every_s=60)
        for number in range(200)
    ]
    desk = Desk(*watches, max_in_flight=100, queue_limit=1000, funds=10**12)
    desk.state.schedule.update("desk", tuple(watches), desk.now)
    for number in range(1200):
        request_id = f"{number:04}{'r' * 110}"
        desk.queue(request_id, f"https://s{number}.example/{'y' * 2000}")
        desk.start()
        notice = Notice(
            request_id=request_id,
            status=RequestStatus.WAITING,
            final=False,
            held="approval",
            message="m" * 400,
            currency=Currency.USDC,
            amount_atomic=PRICE,
        )
        desk.state.apply_notice(notice, desk.now)
    assert len(desk.state.queue.held) == 1200
    assert len(desk.state.for_next_run().model_dump_json()) < 1_700_000


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
