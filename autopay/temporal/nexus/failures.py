"""`FetchFailed`: what a caller's workflow gets in place of content."""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from datetime import timedelta

import nexusrpc
from temporalio.exceptions import ApplicationError, FailureError, TimeoutError, is_cancelled_exception  # noqa: A004

from autopay.temporal.nexus.contract import FailedFetch

TIMED_OUT = "timed_out"
UNKNOWN = "not_fetched"


class FetchFailed(ApplicationError):
    """Nothing was fetched; `type` is the stable name of the reason, the message says it in a sentence.

    `type` is one of the reasons of a refusal (`price_above_maximum`, `approval_denied`, …: nothing was paid),
    `paid_undelivered` (paid, and the seller did not deliver), another name of the ledger's, or one of the call's own:
    `invalid_request`, `payload_unreadable`, `agent_not_running`, `agent_not_allowed`, `timed_out`, `internal`.
    `non_retryable` is True when the same request, asked again, would end in the same way. `request` says what the
    ledger has of it, None when the agent was not asked.
    """

    def __init__(
        self,
        message: str,
        type: str,  # noqa: A002
        *,
        retryable: bool = False,
        request: FailedFetch | None = None,
    ) -> None:
        details = () if request is None else (request,)
        super().__init__(message, *details, type=type, non_retryable=not retryable)
        self.request = request


def fetch_failed(error: FailureError, request_id: str, timeout: timedelta | None) -> FetchFailed | None:
    """The typed failure in what the SDK has raised; None when the call was canceled."""
    if is_cancelled_exception(error):
        return None
    for cause in _causes(error):
        if isinstance(cause, ApplicationError):
            return FetchFailed(
                cause.message, cause.type or UNKNOWN, retryable=not cause.non_retryable, request=_request_in(cause)
            )
        if isinstance(cause, TimeoutError):
            passed = "a time-out" if timeout is None else f"{timeout.total_seconds():g} s"
            message = f"{passed} passed; the request goes on: fetch it again with id={request_id!r}"
            return FetchFailed(message, TIMED_OUT, retryable=True)
    last = list(_causes(error))[-1]
    retryable = isinstance(last, nexusrpc.HandlerError) and last.retryable
    return FetchFailed(str(last) or type(last).__name__, UNKNOWN, retryable=retryable)


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _request_in(cause: ApplicationError) -> FailedFetch | None:
    """The details of the failure, which are read without their type."""
    found = cause.details[0] if len(cause.details) == 1 else None
    if not isinstance(found, Mapping):
        return None
    known = {field.name: found.get(field.name) for field in fields(FailedFetch)}
    given = {name: value for name, value in known.items() if isinstance(value, str | int)}
    return FailedFetch(**given) if {"id", "agent", "status"} <= given.keys() else None  # type: ignore[arg-type]
