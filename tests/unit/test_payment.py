"""The truth table of `next_step`, and the transitions that lead from row to row."""

import itertools
import json

import pytest

from autopay.domain.payment.payment import (
    Attempt,
    Conflict,
    Content,
    Dead,
    Done,
    NoAnswer,
    Payment,
    Rejected,
    Seen,
    Settled,
    Settlement,
    Sign,
    Step,
    Submit,
    Unknown,
    Verify,
    next_step,
    settled_pause_ms,
    settled_sends_for,
)
from autopay.domain.request import RequestResult

SETTLEMENT = Settlement(signature="sig", slot=7, payer="p", destination="d", mint="m", amount_atomic=1000)
SETTLED, DEAD = Settled(settlement=SETTLEMENT), Dead(reason="expired_unsettled")


def payment_with(
    number: int, sends: int, looks: int, outcome: Settled | Dead | None, delivered: bool, conflict: bool
) -> Payment:
    earlier = [Attempt(number=n, sends=1, looks=1, outcome=DEAD) for n in range(1, number)]
    last = Attempt(number=number, sends=sends, looks=looks, outcome=outcome, retry_after_ms=70)
    return Payment(attempts=(*earlier, last), delivered=delivered, conflict=conflict, max_attempts=3, max_sends=3)


# sends: 0 none, 1 some are left, 3 none is left; looks: 0 not since the last send. "*" is any.
TABLE: list[tuple[int | str, int | str, int | str, str, bool | str, bool | str, str]] = [
    # number, sends, looks, outcome, delivered, conflict -> next
    ("*", 0, "*", "none", "*", "*", "submit"),
    ("*", 1, 0, "none", "*", "*", "resolve now"),
    ("*", 3, 0, "none", "*", "*", "resolve now"),
    ("*", 1, 1, "none", False, False, "submit again"),
    ("*", 1, 1, "none", False, True, "resolve later"),
    ("*", 1, 1, "none", True, "*", "resolve later"),
    ("*", 3, 1, "none", "*", "*", "resolve later"),
    ("*", "*", "*", "settled", True, "*", "delivered"),
    ("*", 0, "*", "settled", False, "*", "submit again"),
    ("*", 1, "*", "settled", False, "*", "submit again"),
    ("*", 3, "*", "settled", False, "*", "undelivered"),
    ("*", "*", "*", "dead", True, "*", "delivered_unpaid"),
    ("*", "*", "*", "dead", False, True, "unpaid"),
    (1, "*", "*", "dead", False, False, "sign 2"),
    (2, "*", "*", "dead", False, False, "sign 3"),
    (3, "*", "*", "dead", False, False, "unpaid"),
]


def expected(number: int, sends: int, looks: int, outcome: str, delivered: bool, conflict: bool) -> str:
    facts = (number, sends, looks, outcome, delivered, conflict)
    rows = [row for row in TABLE if all(want in ("*", have) for want, have in zip(row[:6], facts, strict=True))]
    assert len(rows) == 1, f"{facts} matches {len(rows)} rows"
    return rows[0][6]


def named(step: Step) -> str:
    match step:
        case Sign(number=number):
            return f"sign {number}"
        case Submit(send=1):
            return "submit"
        case Submit():
            return "submit again"
        case Verify(wait_ms=0):
            return "resolve now"
        case Verify(wait_ms=70):
            return "resolve later"
        case Done(result=result):
            return result
    return "?"


CASES = list(itertools.product((1, 2, 3), (0, 1, 3), (0, 1), ("none", "settled", "dead"), (False, True), (False, True)))


@pytest.mark.parametrize(("number", "sends", "looks", "outcome", "delivered", "conflict"), CASES)
def test_next_step_follows_its_truth_table(
    number: int, sends: int, looks: int, outcome: str, delivered: bool, conflict: bool
) -> None:
    known = {"none": None, "settled": SETTLED, "dead": DEAD}[outcome]
    step = next_step(payment_with(number, sends, looks, known, delivered, conflict))
    want = expected(number, sends, looks, outcome, delivered, conflict)
    if want == "submit again" and sends == 0:
        want = "submit"
    assert named(step) == want


def test_a_request_without_attempts_signs_the_first() -> None:
    assert next_step(Payment()) == Sign(number=1)


def test_a_new_attempt_is_never_signed_while_one_has_no_outcome() -> None:
    for case in CASES:
        if case[3] == "none":
            number, sends, looks, _, delivered, conflict = case
            assert not isinstance(next_step(payment_with(number, sends, looks, None, delivered, conflict)), Sign)


def test_signing_over_an_open_attempt_is_an_impossible_state() -> None:
    with pytest.raises(AssertionError):
        Payment().with_attempt(1).with_attempt(2)


def test_a_lost_answer_asks_the_chain_and_then_sends_the_same_bytes() -> None:
    payment = Payment().with_attempt(1).with_answer(NoAnswer(reason="reset"))
    assert next_step(payment) == Verify(number=1)
    payment = payment.with_verdict(Unknown(reason="blockhash_live", retry_after_ms=400))
    assert next_step(payment) == Submit(number=1, send=2, wait_ms=400)


def test_a_402_after_payment_is_not_taken_for_unpaid() -> None:
    payment = Payment().with_attempt(1).with_answer(Rejected(http_status=402, reason="http_402"))
    payment = payment.with_verdict(Unknown(reason="blockhash_live", retry_after_ms=10))
    assert isinstance(next_step(payment), Submit)


def test_content_waits_for_finality_before_it_is_done() -> None:
    payment = Payment().with_attempt(1).with_answer(Content(http_status=200))
    payment = payment.with_verdict(Seen(settlement=SETTLEMENT, retry_after_ms=900))
    assert next_step(payment) == Verify(number=1, wait_ms=900)
    assert next_step(payment.with_verdict(SETTLED)) == Done(result="delivered")


def test_a_conflict_signs_no_more() -> None:
    payment = Payment().with_attempt(1).with_answer(Conflict()).with_verdict(DEAD)
    assert next_step(payment) == Done(result="unpaid")


def test_a_sellers_retry_after_is_respected() -> None:
    payment = Payment().with_attempt(1).with_answer(Rejected(http_status=503, reason="http_503", retry_after_ms=5000))
    payment = payment.with_verdict(Unknown(reason="blockhash_live", retry_after_ms=400))
    assert next_step(payment) == Submit(number=1, send=2, wait_ms=5000)


def test_an_outcome_is_never_judged_again() -> None:
    payment = Payment().with_attempt(1).with_answer(Content(http_status=200)).with_verdict(SETTLED)
    with pytest.raises(AssertionError):
        payment.with_verdict(DEAD)


def test_a_transaction_seen_at_confirmed_may_still_die() -> None:
    payment = Payment().with_attempt(1).with_answer(NoAnswer(reason="reset"))
    payment = payment.with_verdict(Seen(settlement=SETTLEMENT, retry_after_ms=900)).with_verdict(DEAD)
    assert payment.last is not None
    assert payment.last.signature is None
    assert next_step(payment) == Sign(number=2)


def test_a_result_holds_base_units_and_its_json_a_decimal_text() -> None:
    text = '{"request_id": "r1", "status": "delivered", "price": "0.001000", "workflow_id": "pay/a/r1"}'
    result = RequestResult.model_validate_json(text)
    assert result.price_atomic == 1_000
    assert json.loads(result.model_dump_json())["price"] == "0.001000"
    assert result.model_dump(mode="json")["price"] == "0.001000"


# What has settled, and whose content is missing: sends before settlement do not count.


def settled_payment(settled_sends: int, *, last_answer: str | None = None, sends: int = 9) -> Payment:
    attempt = Attempt(
        number=1, sends=sends, settled_sends=settled_sends, seen=True, outcome=SETTLED, last_answer=last_answer
    )
    return Payment(attempts=(attempt,), max_sends=4, max_settled_sends=6, conflict=last_answer == "conflict")


@pytest.mark.parametrize(
    ("settled_sends", "last_answer", "waits_ms"),
    [
        pytest.param(0, "no_answer", 1_000, id="all sends before settlement were used up"),
        pytest.param(0, "conflict", 1_000, id="refused before the seller could know that it was paid"),
        pytest.param(1, "no_answer", 2_000, id="no answer since it settled"),
        pytest.param(3, "rejected", 8_000, id="another 402 since it settled"),
        pytest.param(1, "conflict", None, id="refused for good since it settled"),
        pytest.param(6, "no_answer", None, id="asked for long enough"),
    ],
)
def test_what_has_settled_is_asked_for(settled_sends: int, last_answer: str, waits_ms: int | None) -> None:
    step = next_step(settled_payment(settled_sends, last_answer=last_answer))
    wanted = Submit(number=1, send=10, wait_ms=waits_ms) if waits_ms else Done(result="undelivered")
    assert step == wanted


def test_a_send_counts_as_one_after_settlement_when_the_chain_had_shown_it_before() -> None:
    payment = Payment(max_settled_sends=6).with_attempt(1).with_answer(NoAnswer(reason="reset")).with_verdict(SETTLED)
    assert payment.last is not None
    assert (payment.last.sends, payment.last.settled_sends) == (1, 0)
    again = payment.with_answer(NoAnswer(reason="reset")).last
    assert again is not None
    assert (again.sends, again.settled_sends) == (2, 1)


def test_ten_minutes_of_waits_are_fifteen_sends() -> None:
    assert settled_sends_for(600_000) == 15
    waits = [settled_pause_ms(count) for count in range(15)]
    assert waits[:7] == [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000]
    assert sum(waits) >= 600_000 > sum(waits[:-1])


def test_a_run_of_before_counts_all_sends_together() -> None:
    attempt = Attempt(number=1, sends=4, seen=True, outcome=SETTLED)
    assert next_step(Payment(attempts=(attempt,))) == Done(result="undelivered")
