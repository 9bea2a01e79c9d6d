"""What crosses to other teams' workflows: requests that are checked, content by size, failures by name, converters."""

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import nexusrpc
import pytest
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.converter import (
    DataConverter,
    NexusSerializationContext,
    PayloadCodec,
    SerializationContext,
    WorkflowSerializationContext,
)
from temporalio.exceptions import ApplicationError, FailureError
from temporalio.exceptions import TimeoutError as TimedOut

from activities.purchase import NotObtained, PayerChosen, PurchaseStep
from autopay.adapters.vault import Keyring
from autopay.temporal import FailedFetch, Fetched, FetchInput, Plugin
from autopay.temporal.converter import data_converter
from autopay.temporal.nexus.boundary import FailureInClear, in_clear
from autopay.temporal.nexus.contract import MAX_INLINE_BYTES, SERVICE, WORKFLOW_PREFIX
from autopay.temporal.nexus.failures import fetch_failed
from autopay.temporal.nexus.order import MAX_EXTRAS_BYTES, extras_of, spec_of

URL = "https://api.example.com/data"
WANTED = FetchInput(url=URL, id="r1", agent="research")
FETCHED = Fetched(id="r1", agent="research", status="delivered")
OURS = data_converter(Keyring({0: bytes(32), 1: b"keyrings of unit tests: no secret"[:32]}))
TO_US = NexusSerializationContext(endpoint="any", service=SERVICE, operation="fetch")
TO_OTHERS = NexusSerializationContext(endpoint="any", service="Other", operation="fetch")


def test_a_request_becomes_what_its_agent_takes() -> None:
    wanted = replace(WANTED, content='{"a": 1}', max_price="0.01", currency="usdc", max_age_s=5, headers={"A": "b"})
    spec, extras = spec_of(wanted), extras_of(wanted)
    assert (spec.method, spec.max_price_atomic, spec.currency, spec.max_age_s) == ("POST", 10_000, "USDC", 5)
    assert extras is not None
    assert (extras.body, extras.headers) == (b'{"a": 1}', {"A": "b"})
    assert spec.body_hash is not None
    assert (spec_of(WANTED).method, extras_of(WANTED)) == ("GET", None)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param({"url": "file:///etc/passwd"}, "http", id="file"),
        pytest.param({"url": "https://me:secret@example.com/"}, "password", id="password-in-url"),
        pytest.param({"url": "https://example.com/" + "a" * 3000}, "at most 2048", id="long-url"),
        pytest.param({"id": None}, "not an id", id="no-id"),
        pytest.param({"id": "../x"}, "not an id", id="path-as-id"),
        pytest.param({"agent": "a/b"}, "agent's name", id="agent-with-slash"),
        pytest.param({"max_price": "-1"}, "not an amount", id="negative-price"),
        pytest.param({"max_price": "0"}, "above 0", id="price-of-zero"),
        pytest.param({"max_price": "0.0000001"}, "finer", id="too-fine-a-price"),
        pytest.param({"currency": "EUR"}, "not a currency", id="currency"),
        pytest.param({"max_age_s": -1}, "no age", id="negative-age"),
        pytest.param({"method": "DELETE"}, "GET or POST", id="method"),
        pytest.param({"method": "GET", "content": "x"}, "no body", id="get-with-body"),
        pytest.param({"content": "x", "content_base64": "eA=="}, "both", id="two-bodies"),
        pytest.param({"content_base64": "%%%"}, "base64", id="no-base64"),
        pytest.param({"content": "x" * (MAX_EXTRAS_BYTES + 1)}, "at most", id="large-body"),
        pytest.param({"headers": {"X-Payment": "x"}}, "makes itself", id="payment-header"),
        pytest.param({"headers": {"A": "b\r\nX-Payment: c"}}, "can be sent", id="header-in-header"),
        pytest.param({"headers": {"A b": "c"}}, "not a header", id="header-name"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_words(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        spec_of(replace(WANTED, **change))


@pytest.mark.parametrize(
    ("body", "where"),
    [
        pytest.param("{} ü".encode(), "content_text", id="text"),
        pytest.param(b"", "content_text", id="empty"),
        pytest.param(b"\xff\x00", "content_base64", id="bytes"),
        pytest.param(b"a" * (MAX_INLINE_BYTES - 2), "content_text", id="as-large-as-can-be"),
        pytest.param(b"a" * MAX_INLINE_BYTES, None, id="too-large-as-json"),
        pytest.param(b"\x01" * (MAX_INLINE_BYTES // 2), "content_base64", id="text-that-json-makes-large"),
        pytest.param(b"\xff" * MAX_INLINE_BYTES, None, id="bytes-too-large-as-base64"),
        pytest.param(b"a" * 5_000_000, None, id="too-large"),
    ],
)
def test_content_comes_along_when_its_json_is_small_enough(body: bytes, where: str | None) -> None:
    fetched = replace(FETCHED, size=len(body)).with_content(body)
    assert [name for name in ("content_text", "content_base64") if getattr(fetched, name) is not None] == (
        [where] if where else []
    )
    assert fetched.content == (body if where else None)
    assert len(in_clear(fetched).payload.data) < MAX_INLINE_BYTES + 1_000
    if where is None:
        with pytest.raises(ApplicationError) as failed:
            fetched.json()
        assert (failed.value.type, failed.value.non_retryable) == ("content_too_large", True)


def test_content_that_is_no_json_fails_the_workflow_and_not_its_task() -> None:
    assert FETCHED.with_content(b'{"a": [1]}').json() == {"a": [1]}
    with pytest.raises(ApplicationError) as failed:
        FETCHED.with_content(b"<html>").json()
    assert failed.value.type == "content_not_json"


async def test_our_workers_seal_everything_but_what_callers_are_to_read() -> None:
    (sealed,) = await OURS.encode([WANTED])
    (marked,) = await OURS.encode([in_clear(FETCHED)])
    (crossing,) = await OURS.with_context(TO_US).encode([FETCHED])
    (other,) = await OURS.with_context(TO_OTHERS).encode([FETCHED])
    encodings = [each.metadata["encoding"] for each in (sealed, marked, crossing, other)]
    assert encodings == [b"binary/encrypted", b"json/plain", b"json/plain", b"binary/encrypted"]
    for payload in (marked, crossing):
        assert await DataConverter.default.decode([payload], [Fetched]) == [FETCHED]


def _raised(error: Exception) -> Exception:
    """The error with a stack, and what it was caused by."""
    cause = error.__cause__
    try:
        raise error from cause  # noqa: TRY301
    except Exception as raised:
        return raised


async def test_failures_for_callers_are_read_without_keys_and_tell_nothing_of_our_insides() -> None:
    failure = Failure()
    told = FailureInClear("price_above_maximum", "too dear", FailedFetch(id="r1", agent="a", status="refused"))
    await OURS.encode_failure(_raised(told), failure)
    read = await DataConverter.default.decode_failure(failure)
    assert isinstance(read, ApplicationError)
    assert (read.type, read.message, read.details[0]["status"]) == ("price_above_maximum", "too dear", "refused")
    assert failure.stack_trace == ""
    hidden = Failure()
    error = nexusrpc.HandlerError("failed", type=nexusrpc.HandlerErrorType.INTERNAL)
    error.__cause__ = _raised(KeyError("postgres://a:b@c"))
    await OURS.with_context(TO_US).encode_failure(_raised(error), hidden)
    assert hidden.cause.application_failure_info.type == "internal"
    assert "postgres" not in str(hidden)
    assert __file__ not in str(hidden)


class Reversed(PayloadCodec):
    """A codec of another team's own."""

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [Payload(metadata={"encoding": b"reversed"}, data=each.SerializeToString()[::-1]) for each in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [Payload.FromString(each.data[::-1]) for each in payloads]


@pytest.mark.parametrize(
    ("context", "encoding"),
    [
        pytest.param(TO_US, b"json/plain", id="our-service"),
        pytest.param(TO_OTHERS, b"reversed", id="another-service"),
        pytest.param(WorkflowSerializationContext("ns", f"{WORKFLOW_PREFIX}r1/a"), b"json/plain", id="our-workflow"),
        pytest.param(WorkflowSerializationContext("ns", "report"), b"reversed", id="their-workflow"),
    ],
)
async def test_the_plugin_leaves_a_callers_codec_out_for_us_alone(
    context: SerializationContext, encoding: bytes
) -> None:
    config = Plugin().configure_client({"data_converter": replace(DataConverter.default, payload_codec=Reversed())})  # type: ignore[typeddict-item]
    converter = config["data_converter"].with_context(context)
    (payload,) = await converter.encode([FETCHED])
    assert payload.metadata["encoding"] == encoding
    assert await converter.decode([payload], [Fetched]) == [FETCHED]


def _caused(*causes: BaseException) -> FailureError:
    outermost = FailureError("the operation failed")
    error: BaseException = outermost
    for cause in causes:
        error.__cause__ = error = cause
    return outermost


def test_what_the_sdk_raises_becomes_one_typed_failure() -> None:
    details = {"id": "r1", "agent": "a", "status": "undelivered", "price": "0.001", "http_status": None, "new": 1}
    cause = ApplicationError("paid", details, type="paid_undelivered", non_retryable=True)
    failed = fetch_failed(_caused(cause), "r1", None)
    assert failed is not None
    assert (failed.type, failed.non_retryable) == ("paid_undelivered", True)
    assert failed.request == FailedFetch(id="r1", agent="a", status="undelivered", price="0.001")
    bad = nexusrpc.HandlerError("no", type=nexusrpc.HandlerErrorType.BAD_REQUEST)
    failed = fetch_failed(
        _caused(bad, ApplicationError("no url", type="invalid_request", non_retryable=True)), "r1", None
    )
    assert failed is not None
    assert (failed.type, failed.request) == ("invalid_request", None)
    failed = fetch_failed(_caused(TimedOut("late", type=None, last_heartbeat_details=[])), "r1", None)
    assert failed is not None
    assert (failed.type, failed.non_retryable) == ("timed_out", False)
    assert "id='r1'" in failed.message


async def test_other_teams_workflows_have_only_the_named_agents_pay() -> None:
    nothing: Any = None  # the request is refused before any of these is used
    step = PurchaseStep(nothing, nothing, nothing, agents=("research", "reports"))
    refused = await step.purchase(replace(WANTED, agent="treasury"))
    assert isinstance(refused, NotObtained)
    assert (refused.type, refused.retryable, refused.request) == ("agent_not_allowed", False, None)
    assert await step.cancel_purchase(replace(WANTED, agent="treasury")) is False


@pytest.mark.parametrize(
    ("agents", "payer"),
    [
        pytest.param(("research", "reports"), "research", id="the-first-that-is-named"),
        pytest.param((), "default", id="none-is-named"),
    ],
)
async def test_who_pays_for_a_caller_that_names_nobody_is_chosen_before_anybody_is_asked(
    agents: tuple[str, ...], payer: str
) -> None:
    nothing: Any = None
    step = PurchaseStep(nothing, nothing, nothing, agents=agents)
    assert await step.purchase(replace(WANTED, agent=None)) == PayerChosen(agent=payer)


def test_what_a_model_reads_is_json_of_what_is_set() -> None:
    told = json.loads(str(FETCHED.with_content(base64.b64decode("eyJhIjoxfQ=="))))
    assert told["content_text"] == '{"a":1}'
    assert "transaction" not in told
