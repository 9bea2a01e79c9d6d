"""Which moves of a payment's status are legal: the full table."""

from itertools import product

import pytest

from autopay.domain.errors import IllegalTransition
from autopay.domain.payment.status import ErrorType, TransactionStatus, advance, error_type_of, is_legal, move

LEGAL = {
    ("PENDING", "RETRYING"),
    ("PENDING", "SUCCESS"),
    ("PENDING", "VERIFIED"),
    ("PENDING", "FAILED"),
    ("RETRYING", "SUCCESS"),
    ("RETRYING", "VERIFIED"),
    ("RETRYING", "FAILED"),
    ("SUCCESS", "VERIFIED"),
    ("SUCCESS", "FAILED"),
}


@pytest.mark.parametrize(("current", "wanted"), list(product(TransactionStatus, repeat=2)))
def test_only_the_legal_moves_are_made(current: TransactionStatus, wanted: TransactionStatus) -> None:
    legal = current == wanted or (current.value, wanted.value) in LEGAL
    assert is_legal(current, wanted) is legal
    assert advance(current, wanted) is (wanted if legal else current)
    if legal:
        assert move(current, wanted) is wanted
    else:
        with pytest.raises(IllegalTransition):
            move(current, wanted)


@pytest.mark.parametrize(
    ("reason", "last_answer", "receipt_error", "expected"),
    [
        ("expired_unsettled", None, None, ErrorType.NETWORK_FAILURE),
        ("expired_unsettled", "no_answer", None, ErrorType.NETWORK_FAILURE),
        ("expired_unsettled", "rejected", None, ErrorType.REJECTED),
        ("expired_unsettled", "conflict", None, ErrorType.REJECTED),
        ("expired_unsettled", "content", "invalid_payload", ErrorType.REJECTED),
        ("expired_unsettled", "rejected", "insufficient_funds", ErrorType.INSUFFICIENT_FUNDS),
        ("landed_with_error", None, None, ErrorType.REJECTED),
        ("allowance_exhausted", None, None, ErrorType.INSUFFICIENT_FUNDS),
        ("rpc_error", None, None, ErrorType.RPC_ERROR),
    ],
)
def test_a_dead_payment_has_one_of_the_four_classes(
    reason: str, last_answer: str | None, receipt_error: str | None, expected: ErrorType
) -> None:
    assert error_type_of(reason, last_answer=last_answer, receipt_error=receipt_error) is expected
