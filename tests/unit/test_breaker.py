"""The breaker of one dependency, and what notices say of a seller."""

from datetime import UTC, datetime, timedelta

import pytest

from autopay.domain.agent.state.breakers import (
    FAULTS,
    MAX_SELLERS,
    OPEN_FOR,
    Breaker,
    Breakers,
    has_answered,
    seller_of,
)
from autopay.domain.agent.status import BreakerState
from autopay.domain.payment.notice import Notice
from autopay.domain.refusal import RefusalReason
from autopay.domain.request import RequestStatus

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


def opened() -> Breaker:
    breaker = Breaker()
    for _ in range(FAULTS):
        breaker.record_fault(NOW)
    return breaker


def test_it_opens_after_repeated_faults_and_lets_nobody_through() -> None:
    breaker = Breaker()
    for _ in range(FAULTS - 1):
        breaker.record_fault(NOW)
        assert breaker.state(NOW) == CLOSED
    breaker.record_fault(NOW)
    assert breaker.state(NOW) == OPEN
    assert not breaker.allows_request(NOW + OPEN_FOR.first - timedelta(microseconds=1))


def test_a_success_in_between_starts_the_count_again() -> None:
    breaker = Breaker()
    for _ in range(10):
        breaker.record_fault(NOW)
        breaker.record_fault(NOW)
        breaker.record_success()
    assert breaker == Breaker()


def test_half_open_it_lets_a_single_probe_through() -> None:
    breaker, later = opened(), NOW + OPEN_FOR.first
    assert breaker.state(later) == HALF_OPEN
    assert breaker.allows_request(later)
    assert breaker.record_request("probe", later) == HALF_OPEN
    assert not breaker.allows_request(later + OPEN_FOR.most)


def test_the_wait_doubles_with_each_failed_probe_up_to_ten_minutes() -> None:
    breaker, now, waits = opened(), NOW, []
    for _ in range(8):
        assert breaker.until is not None
        waits.append((breaker.until - now).total_seconds())
        now = breaker.until
        breaker.record_request("probe", now)
        breaker.record_fault(now)
    assert waits == [30, 60, 120, 240, 480, 600, 600, 600]


def test_a_successful_probe_closes_it_and_forgets_the_waits() -> None:
    breaker, later = opened(), NOW + OPEN_FOR.first
    breaker.record_request("probe", later)
    breaker.record_success()
    assert breaker.state(later) == CLOSED
    assert breaker == Breaker()


def test_a_probe_that_says_nothing_leaves_its_place_to_another() -> None:
    breaker, later = opened(), NOW + OPEN_FOR.first
    breaker.record_request("probe", later)
    breaker.release_probe("somebody else")
    assert not breaker.allows_request(later)
    breaker.release_probe("probe")
    assert breaker.allows_request(later)


def test_faults_of_those_who_asked_before_it_opened_do_not_lengthen_the_wait() -> None:
    breaker = opened()
    until = breaker.until
    breaker.record_fault(NOW + timedelta(seconds=20))
    assert breaker.until == until


def test_it_may_be_probed_at_once_when_somebody_says_that_it_is_back() -> None:
    breaker = opened()
    breaker.allow_probe_now(NOW)
    assert breaker.allows_request(NOW)
    untroubled = Breaker()
    untroubled.allow_probe_now(NOW)
    assert untroubled == Breaker()


def notice(status: RequestStatus, **more: object) -> Notice:
    return Notice.model_validate({"request_id": "r", "status": status, "final": True} | more)


@pytest.mark.parametrize(
    ("heard", "answered"),
    [
        (notice(RequestStatus.FAILED, error="seller_unavailable"), False),
        (notice(RequestStatus.FAILED, error="step_timed_out"), False),
        (notice(RequestStatus.UNDELIVERED, error="paid_undelivered", http_status=500), False),
        (notice(RequestStatus.FAILED, error="payment_not_settled", http_status=429), False),
        (notice(RequestStatus.FAILED, error="payment_not_settled", http_status=402), True),
        (notice(RequestStatus.FAILED, error="seller_rejected"), True),
        (notice(RequestStatus.DELIVERED), True),
        (notice(RequestStatus.FREE), True),
        (notice(RequestStatus.REFUSED, error=RefusalReason.PRICE_ABOVE_MAXIMUM.value), True),
        (notice(RequestStatus.REFUSED, error=RefusalReason.CANCELED.value), None),
        (notice(RequestStatus.FAILED, error="secret_unreadable"), None),
        (notice(RequestStatus.WAITING, final=False, held="chain", error="step_timed_out"), True),
        (notice(RequestStatus.WAITING, final=False), None),
    ],
)
def test_what_a_notice_says_of_its_seller(heard: Notice, answered: bool | None) -> None:
    assert has_answered(heard) is answered


def test_a_seller_is_its_origin() -> None:
    assert seller_of("https://Api.example/a?b") == seller_of("https://api.example:443/c") == "api.example:443"
    assert seller_of("http://127.0.0.1:8403/x") != seller_of("http://127.0.0.1:8404/x")


def test_sellers_in_trouble_are_bounded_and_the_well_ones_cost_nothing() -> None:
    breakers = Breakers()
    for number in range(3 * MAX_SELLERS):
        breakers.apply_seller_notice(f"s{number}:443", notice(RequestStatus.FAILED, error="seller_unavailable"), NOW)
        breakers.apply_seller_notice("well:443", notice(RequestStatus.DELIVERED), NOW)
    assert len(breakers.sellers) == MAX_SELLERS
    assert "well:443" not in breakers.sellers


def test_a_probe_that_is_not_under_way_any_more_is_forgotten() -> None:
    breakers = Breakers(sellers={"s:443": opened()})
    later = NOW + OPEN_FOR.first
    assert breakers.record_seller_request("s:443", "probe", later) == HALF_OPEN
    breakers.keep_probes({"probe"})
    assert not breakers.seller_allows_request("s:443", later)
    breakers.keep_probes(set())
    assert breakers.seller_allows_request("s:443", later)
