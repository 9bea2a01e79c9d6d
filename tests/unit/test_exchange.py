"""Every answer of a seller, and what it means."""

import pytest

from autopay.domain.payment.exchange import Receipt, Reply, classify
from autopay.domain.payment.payment import Conflict, Content, Rejected, SellerAnswer

SIG = "5" * 64
YES, NO = Receipt(success=True, transaction=SIG), Receipt(success=False, error_reason="transaction_failed")
PENDING = Receipt(success=False, transaction=SIG, error_reason="settlement_pending")


@pytest.mark.parametrize(
    ("status", "receipt", "want"),
    [
        (200, YES, Content(http_status=200, complete=True)),
        (200, NO, Content(http_status=200, complete=True)),
        (200, None, Content(http_status=200, complete=True)),
        (204, None, Content(http_status=204, complete=True)),
        (402, None, Rejected(http_status=402, reason="http_402")),
        (402, NO, Rejected(http_status=402, reason="transaction_failed")),
        (402, PENDING, Rejected(http_status=402, reason="settlement_pending")),
        (402, YES, Rejected(http_status=402, reason="http_402")),
        (500, None, Rejected(http_status=500, reason="http_500")),
        (502, YES, Rejected(http_status=502, reason="http_502")),
        (503, NO, Rejected(http_status=503, reason="transaction_failed")),
        (302, None, Rejected(http_status=302, reason="http_302")),
        (408, None, Rejected(http_status=408, reason="http_408")),
        (425, None, Rejected(http_status=425, reason="http_425")),
        (429, None, Rejected(http_status=429, reason="http_429")),
        (400, None, Conflict(http_status=400)),
        (404, None, Conflict(http_status=404)),
        (409, None, Conflict(http_status=409)),
        (409, YES, Conflict(http_status=409)),
        (422, None, Conflict(http_status=422)),
    ],
)
def test_an_answer_means_what_its_status_and_receipt_say(
    status: int, receipt: Receipt | None, want: SellerAnswer
) -> None:
    assert classify(Reply(http_status=status, receipt=receipt)) == want


def test_a_wait_that_the_seller_asks_for_is_kept() -> None:
    answer = classify(Reply(http_status=429, retry_after_ms=3000))
    assert isinstance(answer, Rejected)
    assert answer.retry_after_ms == 3000


def test_no_answer_says_anything_about_the_money() -> None:
    for status in range(100, 600):
        assert classify(Reply(http_status=status, receipt=YES)).kind in ("content", "rejected", "conflict")
