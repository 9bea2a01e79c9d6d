"""Errors as the HTTP gateway tells them: problem details (RFC 9457), made of an `AutopayError` and read back."""

from __future__ import annotations

from typing import NamedTuple

from autopay.client.errors import (
    AutopayError,
    CallFailed,
    InvalidCall,
    Misconfigured,
    NotBought,
    NotDecided,
    NotDecidedYet,
    PurchaseFailed,
    PurchaseRefused,
    PurchaseUndelivered,
    PurchaseUnfinished,
    TermsDiffer,
    Unreachable,
    told_text,
)
from autopay.client.values import Receipt
from autopay.domain.values import Value

PROBLEM_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:autopay:"

RETRY_AFTER_S = 2
"""Of what may work in a moment."""


class Problem(Value):
    """Why a call did not end with its answer.

    `type` is its kind, for programs that treat all of a kind alike; `rule` the stable name of the one reason. `id` and
    `agent` are the request's; with `id` the same call goes on, and never pays twice. `receipt` says what was paid,
    `seller_status` what the seller last answered.
    """

    type: str
    title: str
    status: int
    detail: str
    rule: str
    id: str | None = None
    agent: str | None = None
    receipt: Receipt | None = None
    seller_status: int | None = None
    retry_after_s: int | None = None


class _Kind(NamedTuple):
    error: type[AutopayError]
    name: str
    title: str
    status: int


_KINDS = (  # an error is of the first kind that it is an instance of
    _Kind(TermsDiffer, "terms-differ", "The id belongs to a request with other terms", 422),
    _Kind(PurchaseRefused, "refused", "Refused, and nothing was paid", 402),
    _Kind(PurchaseFailed, "failed", "No content, and nothing was paid", 502),
    _Kind(PurchaseUndelivered, "undelivered", "Paid, and the seller did not deliver", 502),
    _Kind(PurchaseUnfinished, "unfinished", "Not finished yet: ask again with the same id", 504),
    _Kind(NotBought, "not-bought", "No content", 502),
    _Kind(NotDecidedYet, "not-decided-yet", "Cannot be decided now", 409),
    _Kind(NotDecided, "not-decided", "Can no longer be decided so", 409),
    _Kind(InvalidCall, "invalid-call", "What was asked for cannot be", 422),
    _Kind(Misconfigured, "misconfigured", "A setting of the server is missing or wrong", 500),
    _Kind(Unreachable, "unreachable", "Something that is needed does not answer", 503),
    _Kind(CallFailed, "call-failed", "The call failed", 500),
    _Kind(AutopayError, "call-failed", "The call failed", 500),
)

_STATUS_OF_RULE = {
    "idempotency_key_missing": 400,
    "unknown_agent": 404,
    "unknown_request": 404,
    "agent_not_running": 409,
    "agent_ended": 409,
    "ended": 409,
    "unknown_session": 404,
    "unknown_approval": 404,
    "another_wallet": 409,
    "not_waiting": 409,
    "granted_already": 409,
    "waits_for_owner": 409,
    "open_payments": 409,
    "expired": 409,
    "chain_refused": 409,
    "several_requests": 409,
    "owner_lacks": 409,
    "too_large": 413,
    "address_not_allowed": 403,
    "agent_not_allowed": 403,
    "insecure_transport": 403,
    "queue_full": 503,
    "seller_unavailable": 502,
    "seller_timed_out": 504,
}
"""Where one reason needs another status than its kind."""

_CLIENT_ERRORS = {
    "not-decided-yet": NotDecidedYet,
    "not-decided": NotDecided,
    "invalid-call": InvalidCall,
    "misconfigured": Misconfigured,
    "unauthorized": Misconfigured,
    "forbidden": Misconfigured,
    "unreachable": Unreachable,
}


def problem_of(error: AutopayError) -> Problem:
    """The error as the gateway tells it; what a driver says stays in the log."""
    kind = next(each for each in _KINDS if isinstance(error, each.error))
    bought = error.purchase if isinstance(error, NotBought | TermsDiffer) else None
    status = kind.status if isinstance(error, TermsDiffer) else _STATUS_OF_RULE.get(error.type, kind.status)
    return Problem(
        type=f"{TYPE_PREFIX}{kind.name}",
        title=kind.title,
        status=status,
        detail=told_text(error),
        rule=error.type,
        id=error.request_id if bought is None else bought.id,
        agent=None if bought is None else bought.agent,
        receipt=None if bought is None else bought.receipt,
        seller_status=None if bought is None else bought.http_status,
        retry_after_s=RETRY_AFTER_S if status in (503, 504) else None,
    )


def error_of(problem: Problem) -> AutopayError:
    """The error that a client of the gateway raises for a problem; those about purchases are `CallFailed` here, as a
    client is told of purchases as they are."""
    error = _CLIENT_ERRORS.get(problem.type.removeprefix(TYPE_PREFIX), CallFailed)(problem.detail, problem.rule)
    error.request_id = problem.id
    return error
