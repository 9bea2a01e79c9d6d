"""How a request's workflow ends: which results complete it, which fail it, and that either is read the same."""

from collections.abc import Sequence

import pytest
from temporalio.api.failure.v1 import Failure
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory, ChildWorkflowError, RetryState
from temporalio.exceptions import CancelledError as TemporalCanceled

from autopay.adapters.vault import Keyring
from autopay.domain.money import Currency
from autopay.domain.request import RequestError, RequestResult, RequestStatus
from autopay.temporal.converter import data_converter
from autopay.temporal.outcome import failure_of, result_in

CONVERTER = data_converter(Keyring({0: bytes(32), 1: b"a key that is only for this test"}))
SECRET = "https://seller.example/feed?token=secret"


def result(status: RequestStatus, error: str | None = None, message: str = "") -> RequestResult:
    return RequestResult(
        request_id="r1",
        status=status,
        http_status=500,
        price_atomic=1_000,
        currency=Currency.USDC,
        transaction="signature",
        attempts=1,
        workflow_id="pay/tester/r1",
        error=RequestError(type=error, message=message) if error else None,
    )


def as_child(cause: BaseException) -> ChildWorkflowError:
    error = ChildWorkflowError(
        "Child Workflow execution failed",
        namespace="default",
        workflow_id="pay/tester/r1",
        run_id="run",
        workflow_type="PaidRequest",
        initiated_event_id=1,
        started_event_id=2,
        retry_state=RetryState.NON_RETRYABLE_FAILURE,
    )
    error.__cause__ = cause
    return error


@pytest.mark.parametrize("status", [RequestStatus.DELIVERED, RequestStatus.FREE, RequestStatus.FRESH])
def test_what_was_asked_for_completes(status: RequestStatus) -> None:
    assert failure_of(result(status)) is None


@pytest.mark.parametrize(
    ("ended", "name", "message"),
    [
        pytest.param(
            result(RequestStatus.REFUSED, "price_above_maximum", "0.02 USDC is more than 0.01"),
            "price_above_maximum",
            "0.02 USDC is more than 0.01",
            id="refused",
        ),
        pytest.param(
            result(RequestStatus.FAILED, "seller_rejected", "the seller answers HTTP 404"),
            "seller_rejected",
            "the seller answers HTTP 404",
            id="failed",
        ),
        pytest.param(
            result(RequestStatus.UNDELIVERED, "paid_undelivered", "paid, and no answer came"),
            "paid_undelivered",
            "paid, and no answer came",
            id="undelivered",
        ),
        pytest.param(result(RequestStatus.FAILED), "failed", "the request has ended as failed", id="no-reason-known"),
        pytest.param(
            result(RequestStatus.REFUSED, "canceled"), "canceled", "the request has ended as refused", id="no-sentence"
        ),
    ],
)
def test_what_ends_without_content_fails_with_its_reason(ended: RequestResult, name: str, message: str) -> None:
    failure = failure_of(ended)
    assert failure is not None
    assert (failure.type, failure.message, failure.non_retryable) == (name, message, True)
    assert failure.category is ApplicationErrorCategory.BENIGN, "no error of the worker"


@pytest.mark.parametrize("wrapped", [as_child, lambda cause: WorkflowFailureError(cause=cause), lambda cause: cause])
async def test_the_result_is_read_from_the_failure_that_has_travelled(wrapped: object) -> None:
    ended = result(RequestStatus.UNDELIVERED, "paid_undelivered", f"paid, and {SECRET} answers HTTP 500")
    failure = failure_of(ended)
    assert failure is not None
    sent = Failure()
    await CONVERTER.encode_failure(failure, sent)
    assert b"secret" not in sent.SerializeToString(), "Temporal has message and details sealed"
    assert sent.application_failure_info.type == "paid_undelivered"
    received = await CONVERTER.decode_failure(sent)
    assert isinstance(received, ApplicationError)
    assert callable(wrapped)
    assert result_in(wrapped(received)) == ended


@pytest.mark.parametrize(
    "details",
    [
        pytest.param((), id="none"),
        pytest.param(({"request_id": "r1"},), id="another-shape"),
        pytest.param(("text",), id="a-text"),
        pytest.param((None,), id="null"),
        pytest.param(({}, {}), id="two"),
    ],
)
def test_a_failure_of_another_kind_has_no_result(details: Sequence[object]) -> None:
    failure = ApplicationError("no", *details, type="unknown_request")
    assert result_in(failure) is None
    assert result_in(as_child(failure)) is None


def test_a_failure_that_is_none_or_no_error_of_a_workflow_has_no_result() -> None:
    assert result_in(None) is None
    assert result_in(WorkflowFailureError(cause=TemporalCanceled("canceled"))) is None


async def test_details_that_another_keyring_sealed_are_no_result() -> None:
    failure = failure_of(result(RequestStatus.FAILED, "seller_rejected", "no"))
    assert failure is not None
    sent = Failure()
    await CONVERTER.encode_failure(failure, sent)
    other = data_converter(Keyring({0: bytes(32), 1: b"another key, of another keyring."}))
    assert result_in(await other.decode_failure(sent)) is None
