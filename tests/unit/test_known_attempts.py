"""What a worker has signed or sent a moment ago is used once and not for long; the ledger is asked for the rest."""

import pytest

from activities.known_attempts import KEEP_S, MAX_KEPT, SEND_WITHIN_S, KnownAttempts
from autopay.domain.payment.attempt import RecordedAttempt
from autopay.domain.request import RequestSpec
from tests.unit.test_recent_facts import Clock
from tests.unit.test_settlement import ATTEMPT

SPEC = RequestSpec(request_id="one", url="https://shop.example/data")
KEY = ATTEMPT.request_key


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def known(clock: Clock) -> KnownAttempts:
    return KnownAttempts(clock)


def of_request(number: int) -> RecordedAttempt:
    return ATTEMPT.model_copy(update={"request_key": f"ap_{number}"})


def test_a_counted_send_is_taken_once(known: KnownAttempts) -> None:
    known.recorded(ATTEMPT, SPEC)
    assert known.take_to_send(KEY, 1) == (ATTEMPT, SPEC)
    assert known.take_to_send(KEY, 1) is None


@pytest.mark.parametrize(
    ("after_s", "is_taken"),
    [
        pytest.param(0, True, id="at-once"),
        pytest.param(SEND_WITHIN_S, True, id="at-the-limit"),
        pytest.param(SEND_WITHIN_S + 0.01, False, id="too-late"),
        pytest.param(KEEP_S + 1, False, id="much-too-late"),
    ],
)
def test_a_counted_send_is_not_taken_after_ten_seconds(
    known: KnownAttempts, clock: Clock, after_s: float, is_taken: bool
) -> None:
    known.recorded(ATTEMPT, SPEC)
    clock.now_s = after_s
    assert (known.take_to_send(KEY, 1) is not None) is is_taken
    clock.now_s = 0
    assert known.take_to_send(KEY, 1) is None, "what came too late is not taken later either"


@pytest.mark.parametrize(
    ("request_key", "number"),
    [
        pytest.param("ap_other", 1, id="another-request"),
        pytest.param(KEY, 2, id="another-attempt"),
        pytest.param("", 0, id="nothing"),
    ],
)
def test_what_was_not_recorded_is_not_known(known: KnownAttempts, request_key: str, number: int) -> None:
    known.recorded(ATTEMPT, SPEC)
    assert known.take_to_send(request_key, number) is None
    assert known.get(request_key, number) is None
    assert known.take_to_send(KEY, 1) == (ATTEMPT, SPEC)


def test_an_answer_gives_no_send_away(known: KnownAttempts) -> None:
    known.answered(ATTEMPT)
    assert known.take_to_send(KEY, 1) is None


def test_a_send_that_was_not_taken_is_gone_when_an_answer_is_there(known: KnownAttempts) -> None:
    known.recorded(ATTEMPT, SPEC)
    known.answered(ATTEMPT)
    assert known.take_to_send(KEY, 1) is None


def test_the_newest_claims_are_those_that_count(known: KnownAttempts) -> None:
    known.recorded(ATTEMPT, SPEC)
    known.take_to_send(KEY, 1)
    for claims in ((), ("first",), ("first", "second")):
        known.answered(ATTEMPT.model_copy(update={"claims": claims}))
        found = known.get(KEY, 1)
        assert found is not None
        assert found.claims == claims


@pytest.mark.parametrize(
    ("after_s", "is_known"),
    [pytest.param(KEEP_S, True, id="at-the-limit"), pytest.param(KEEP_S + 0.01, False, id="too-old")],
)
def test_an_answered_attempt_is_known_for_a_minute(
    known: KnownAttempts, clock: Clock, after_s: float, is_known: bool
) -> None:
    clock.now_s = 1_000
    known.answered(ATTEMPT)
    clock.now_s += after_s
    assert (known.get(KEY, 1) == ATTEMPT) is is_known


def test_the_minute_counts_from_the_newest_answer(known: KnownAttempts, clock: Clock) -> None:
    known.answered(ATTEMPT)
    clock.now_s = KEEP_S
    known.answered(ATTEMPT)
    clock.now_s = 2 * KEEP_S
    assert known.get(KEY, 1) == ATTEMPT


def test_no_more_is_kept_than_a_bound_and_the_oldest_goes_first(known: KnownAttempts) -> None:
    for number in range(MAX_KEPT):
        known.answered(of_request(number))
    known.answered(of_request(0))  # it is the newest now
    known.answered(of_request(MAX_KEPT))
    assert [known.get(f"ap_{number}", 1) is not None for number in (0, 1, 2, MAX_KEPT)] == [True, False, True, True]
