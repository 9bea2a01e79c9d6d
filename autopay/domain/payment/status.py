"""The statuses of a payment in the ledger, which moves between them are legal, and its classes of errors. Pure."""

from enum import StrEnum

from autopay.domain.errors import IllegalTransition


class TransactionStatus(StrEnum):
    """`transactions.status`, in the order that money moves; FAILED is reached from any but VERIFIED."""

    PENDING = "PENDING"
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    RETRYING = "RETRYING"
    VERIFIED = "VERIFIED"


class ErrorType(StrEnum):
    """`transactions.error_type`: the document's four classes; `error_code` is exact."""

    INSUFFICIENT_FUNDS = "INSUFFICIENT_FUNDS"
    NETWORK_FAILURE = "NETWORK_FAILURE"
    REJECTED = "REJECTED"
    RPC_ERROR = "RPC_ERROR"


class Delivery(StrEnum):
    """`api_request_logs.delivery`: what became of the content, apart from the money."""

    NONE = "NONE"
    DELIVERED = "DELIVERED"
    UNDELIVERED = "UNDELIVERED"


OPEN = (TransactionStatus.PENDING, TransactionStatus.RETRYING, TransactionStatus.SUCCESS)
"""An attempt in one of these has no outcome yet: its money is neither spent for sure nor free."""


SPENT = (TransactionStatus.SUCCESS, TransactionStatus.VERIFIED)


_RANK = {
    TransactionStatus.PENDING: 0,
    TransactionStatus.RETRYING: 1,
    TransactionStatus.SUCCESS: 2,
    TransactionStatus.VERIFIED: 3,
}


def is_legal(current: TransactionStatus, wanted: TransactionStatus) -> bool:
    """Forward along PENDING → RETRYING → SUCCESS → VERIFIED, or any but VERIFIED → FAILED; staying is legal."""
    if current == wanted:
        return True
    if current is TransactionStatus.FAILED or current is TransactionStatus.VERIFIED:
        return False
    return wanted is TransactionStatus.FAILED or _RANK[wanted] > _RANK[current]


def move(current: TransactionStatus, wanted: TransactionStatus) -> TransactionStatus:
    """`wanted`, when that move is legal.

    Raises:
        IllegalTransition: never back, and nothing after VERIFIED or FAILED.
    """
    if not is_legal(current, wanted):
        raise IllegalTransition(f"{current} → {wanted}")
    return wanted


def advance(current: TransactionStatus, wanted: TransactionStatus) -> TransactionStatus:
    """`wanted` when that is a step forward, otherwise `current`: for news that may be older than what is known."""
    return wanted if is_legal(current, wanted) else current


_FUNDS = ("insufficient_funds", "insufficient_balance", "allowance", "insufficientfunds")


def error_type_of(reason: str, *, last_answer: str | None = None, receipt_error: str | None = None) -> ErrorType:
    """The document's class of a dead payment.

    Args:
        reason: the error_code: why it is proven dead.
        last_answer: what the seller said last ("rejected", "no_answer", ...).
        receipt_error: `errorReason` of the facilitator's receipt, if it sent one.
    """
    said = f"{reason} {receipt_error or ''}".lower()
    if any(word in said for word in _FUNDS):
        return ErrorType.INSUFFICIENT_FUNDS
    if "rpc" in said or "chain_unavailable" in said:
        return ErrorType.RPC_ERROR
    if reason == "landed_with_error" or receipt_error or last_answer in ("rejected", "conflict"):
        return ErrorType.REJECTED
    return ErrorType.NETWORK_FAILURE
