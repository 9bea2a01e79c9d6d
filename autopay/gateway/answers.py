"""What a caller gets: the content with its receipt in headers, the purchase as JSON, or a problem."""

from collections.abc import Iterable, Mapping
from typing import Any

from starlette.responses import JSONResponse, Response

from autopay.client.async_client import delivered
from autopay.client.errors import AutopayError, NotBought
from autopay.client.problems import PROBLEM_TYPE, TYPE_PREFIX, Problem, problem_of
from autopay.client.values import Purchase
from autopay.transport.answers import receipt_headers as headers_of

PURCHASE_TYPE = "application/vnd.autopay+json"
"""Accepted by a caller that wants the whole `Purchase`, whatever became of it."""

UNDONE_CODINGS = frozenset({"gzip", "x-gzip", "deflate"})
"""What we undo ourselves: where one of these is left, the bytes are not what it says."""


def purchase_response(purchase: Purchase, accept: str) -> Response:
    """The answer to a caller that accepts this.

    Raises:
        NotBought, TermsDiffer: it wants the content, and there is none.
    """
    if wants_purchase(accept):
        return Response(purchase.model_dump_json(), 200, receipt_headers(purchase), PURCHASE_TYPE)
    delivered(purchase)
    if purchase.pruned is not None:
        return problem_response(_pruned(purchase), receipt_headers(purchase))
    status = purchase.http_status
    return Response(
        purchase.content or b"",
        status if status is not None and 200 <= status < 300 else 200,
        {**receipt_headers(purchase), **_content_headers(purchase)},
    )


def wants_purchase(accept: str) -> bool:
    """Whether the purchase is wanted in place of its content."""
    return PURCHASE_TYPE in (each.partition(";")[0].strip().lower() for each in accept.split(","))


def receipt_headers(purchase: Purchase) -> dict[str, str]:
    """What was paid, each in a header of its own, and all of it as JSON in `Autopay-Receipt`."""
    receipt = purchase.receipt
    told = {**headers_of(receipt), "autopay-receipt": receipt.model_dump_json(exclude_none=True)}
    return _sendable(told)


def problem_response(
    problem: Problem, headers: Mapping[str, str] | None = None, members: Mapping[str, Any] | None = None
) -> JSONResponse:
    """The problem; `members` are extension members, which never take the place of one of its own."""
    own = problem.model_dump(mode="json", exclude_none=True, exclude={"retry_after_s"})
    told = {"autopay-rule": problem.rule} | ({"autopay-id": problem.id} if problem.id is not None else {})
    if problem.retry_after_s is not None:
        told["Retry-After"] = str(problem.retry_after_s)
    if problem.status == 401:
        told["WWW-Authenticate"] = 'Bearer realm="autopay"'
    return JSONResponse({**(members or {}), **own}, problem.status, {**(headers or {}), **told}, PROBLEM_TYPE)


def error_response(error: AutopayError, *, is_retryable: bool = True) -> JSONResponse:
    """The error as a problem.

    Args:
        error: what ended the call.
        is_retryable: False where the caller, asking again by itself as many clients do, would make a new purchase
            though this one may be paid; those of OpenAI, Anthropic and others heed the header.
    """
    headers = receipt_headers(error.purchase) if isinstance(error, NotBought) else {}
    return problem_response(problem_of(error), {**headers, **({} if is_retryable else {"X-Should-Retry": "false"})})


def not_found(path: str, known: Iterable[str]) -> Problem:
    """There is nothing at that path."""
    return Problem(
        type=f"{TYPE_PREFIX}invalid-call",
        title="There is nothing here",
        status=404,
        detail=f"{path[:100]!r} is not a path of this gateway; there are {', '.join(known)}",
        rule="unknown_path",
    )


def _pruned(purchase: Purchase) -> Problem:
    return Problem(
        type=f"{TYPE_PREFIX}pruned",
        title="What was bought was thrown away",
        status=410,
        detail=purchase.pruned or "",
        rule="content_pruned",
        id=purchase.id,
        agent=purchase.agent,
        receipt=purchase.receipt,
    )


def _content_headers(purchase: Purchase) -> dict[str, str]:
    """About the content: its type, its age, and which codings it still has."""
    told: dict[str, str | None] = {
        "Content-Type": purchase.content_type or "application/octet-stream",
        "Autopay-Content-At": None if purchase.content_at is None else purchase.content_at.isoformat(),
        "Autopay-Content-Location": purchase.content_location,
    }
    if (coding := purchase.content_encoding) is not None:
        can_be_undone = UNDONE_CODINGS.isdisjoint(each.strip() for each in coding.split(","))
        told["Content-Encoding" if can_be_undone else "Autopay-Content-Encoding"] = coding
    return _sendable(told)


def _sendable(told: Mapping[str, str | None]) -> dict[str, str]:
    """The headers that are there; what a seller wrote is left out where it could be more than one value."""
    return {name: value for name, value in told.items() if value and value.isascii() and value.isprintable()}
