"""The transports of httpx, httpx2 and requests, by the same rules: what passes, what is paid, and how a call ends."""

import gzip
import json
import math
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import httpx2
import pytest
import requests

from autopay.client.errors import (
    AgentNotAnswering,
    AutopayError,
    CallFailed,
    InvalidCall,
    Misconfigured,
    PurchaseRefused,
    PurchaseUnfinished,
    TermsDiffer,
    Unreachable,
)
from autopay.client.paid_http import MOST_DEMAND_BYTES
from autopay.client.values import Receipt
from autopay.domain.request import RequestError, RequestStatus, is_request_id
from autopay.transport.demand import MAX_BODY_BYTES, NotPaid
from tests.unit.bought import TRANSACTION, MemoryBackend
from tests.unit.doors import DEMAND, DEMAND_HEADERS, OFFER, Answered, Door, Seller

pytestmark = pytest.mark.usefixtures("backend")

DOORS = [
    pytest.param(("httpx", False), id="httpx"),
    pytest.param(("httpx", True), id="httpx async"),
    pytest.param(("httpx2", False), id="httpx2"),
    pytest.param(("httpx2", True), id="httpx2 async"),
    pytest.param(("requests", False), id="requests"),
]

OpenDoor = Callable[..., Any]


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> MemoryBackend:
    """What every client of these tests buys by."""
    backend = MemoryBackend()
    monkeypatch.setattr("autopay.client.async_client.open_backend", lambda *_, **__: backend)
    return backend


@pytest.fixture(params=DOORS)
async def open_door(request: pytest.FixtureRequest) -> AsyncIterator[OpenDoor]:
    """Opens this test's door before sellers of its own."""
    name, is_async = request.param
    async with AsyncExitStack() as stack:

        async def opened(*answers: Answered, **arguments: Any) -> Door:
            return await stack.enter_async_context(Door(name, Seller([*answers]), is_async=is_async, **arguments))

        yield opened


# What passes through


@pytest.mark.parametrize("status", [200, 204, 301, 400, 401, 404, 429, 500, 503])
async def test_an_answer_that_is_no_402_passes_through(
    open_door: OpenDoor, backend: MemoryBackend, status: int
) -> None:
    door = await open_door(Answered(status, {"x-own": "yes", **DEMAND_HEADERS}, b"" if status == 204 else b"free"))
    seen = await door.call()
    assert (seen.status, seen.headers["x-own"], seen.receipt) == (status, "yes", None)
    assert seen.content == (b"" if status == 204 else b"free")
    assert (backend.asks, backend.recalled) == ([], [])


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        pytest.param({}, b"", id="empty"),
        pytest.param({"content-type": "text/html"}, b"<h1>Pay us</h1>", id="a page"),
        pytest.param({}, b'{"error": "card declined"}', id="JSON of another kind"),
        pytest.param({}, b"[]", id="a list"),
        pytest.param({}, b"[" * 100_000, id="nested too deep"),
        pytest.param({"content-encoding": "gzip"}, b"no gzip", id="mislabelled"),
        pytest.param({}, b" " * (MOST_DEMAND_BYTES * 2) + json.dumps(OFFER).encode(), id="longer than any demand"),
        pytest.param(
            {"content-encoding": "gzip"}, gzip.compress(b" " * 5_000_000 + b"{}"), id="compressed, and very long"
        ),
    ],
)
async def test_a_402_that_is_no_demand_passes_through_untouched(
    open_door: OpenDoor, backend: MemoryBackend, headers: dict[str, str], body: bytes
) -> None:
    door = await open_door(Answered(402, headers, body))
    if "content-encoding" in headers and body == b"no gzip":
        error = requests.RequestException if door.name == "requests" else door.library.DecodingError
        with pytest.raises(error):  # as without us
            await door.call()
    else:
        seen = await door.call()
        plain = gzip.decompress(body) if "content-encoding" in headers else body
        assert (seen.status, seen.content == plain, seen.receipt) == (402, True, None)
    assert backend.asks == []


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        pytest.param(DEMAND_HEADERS, b"", id="v2 in its header"),
        pytest.param({}, json.dumps(OFFER).encode(), id="v2 in the body"),
        pytest.param({}, json.dumps({"x402Version": 1, "accepts": []}).encode(), id="v1"),
        pytest.param({"payment-required": "broken!"}, b"?", id="an unreadable one, of which the agent says why"),
        pytest.param({"content-encoding": "gzip"}, gzip.compress(json.dumps(OFFER).encode()), id="gzip"),
        pytest.param({"content-encoding": "deflate"}, zlib.compress(json.dumps(OFFER).encode()), id="deflate"),
        pytest.param(DEMAND_HEADERS, b"x" * (MOST_DEMAND_BYTES + 9), id="a header, and a long page"),
        pytest.param({}, b"\xef\xbb\xbf" + json.dumps(OFFER).encode(), id="a byte order mark"),
    ],
)
async def test_a_demand_is_paid_once_and_answered(
    open_door: OpenDoor, backend: MemoryBackend, headers: dict[str, str], body: bytes
) -> None:
    door = await open_door(Answered(402, headers, body))
    seen = await door.call()
    assert (seen.status, json.loads(seen.text)) == (200, {"bought": True})
    assert isinstance(seen.receipt, Receipt)
    assert (seen.receipt.transaction, seen.headers["autopay-transaction"]) == (TRANSACTION, TRANSACTION)
    assert seen.response.json() == {"bought": True}
    seen.response.raise_for_status()
    assert backend.paid == [seen.receipt.id]
    assert len(door.seller.asked) == 1


async def test_a_demand_is_not_unpacked_beyond_what_a_demand_can_be(
    open_door: OpenDoor, backend: MemoryBackend
) -> None:
    packed = gzip.compress(bytes(80_000_000))
    door = await open_door(Answered(402, {**DEMAND_HEADERS, "content-encoding": "gzip"}, packed))
    backend.ends = [{"status": RequestStatus.REFUSED, "content": None}]
    tracemalloc.start()
    try:
        with pytest.raises(_base(door)):
            await door.call()
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 20_000_000


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        pytest.param({"method": "PUT", "body": b"x"}, "method_not_payable", id="PUT"),
        pytest.param({"method": "DELETE"}, "method_not_payable", id="DELETE"),
        pytest.param({"method": "HEAD"}, "method_not_payable", id="HEAD"),
        pytest.param({"method": "GET", "body": b"x"}, "body_not_payable", id="a GET with a body"),
        pytest.param({"headers": {"X-Payment": "abc"}}, "already_paying", id="its own payment, v1"),
        pytest.param({"headers": {"Payment-Signature": "abc"}}, "already_paying", id="its own payment, v2"),
        pytest.param({"method": "POST", "body": b"x" * (MAX_BODY_BYTES + 1)}, "too_large", id="a large body"),
        pytest.param({"url": f"https://shop.example/{'x' * 2048}"}, "invalid_call", id="a long URL"),
    ],
)
async def test_a_demand_that_cannot_be_paid_is_passed_on_with_the_reason(
    open_door: OpenDoor, backend: MemoryBackend, call: dict[str, Any], kind: str
) -> None:
    door = await open_door(Answered(402, DEMAND_HEADERS, b"the demand"))
    seen = await door.call(**call)
    assert (seen.status, seen.content, seen.headers["payment-required"]) == (
        402,
        b"the demand",
        DEMAND_HEADERS["payment-required"],
    )
    assert isinstance(seen.receipt, NotPaid)
    assert seen.receipt.type == kind
    assert "nothing" in seen.receipt.message
    assert backend.asks == []


async def test_a_request_that_is_too_large_when_it_is_sealed_is_passed_on(
    open_door: OpenDoor, backend: MemoryBackend
) -> None:
    backend.ends = [InvalidCall("headers and body are too large", "too_large")]
    door = await open_door(DEMAND)
    seen = await door.call(headers={"x-long": "y" * 9})
    assert (seen.status, seen.receipt.type) == (402, "too_large")


async def test_a_402_that_cannot_be_read_to_its_end_is_the_librarys_error_and_is_closed(
    open_door: OpenDoor, backend: MemoryBackend
) -> None:
    closed: list[int] = []

    def cut() -> Iterator[bytes]:
        try:
            yield b"the beginning"
            raise door.read_error
        finally:
            closed.append(1)

    door = await open_door(Answered(402, DEMAND_HEADERS, cut()))
    with pytest.raises(_base(door)):
        await door.call()
    assert (closed, backend.asks) == ([1], [])


# What the agent gets


async def test_the_agent_gets_the_request_without_what_is_of_the_connection(
    open_door: OpenDoor, backend: MemoryBackend
) -> None:
    door = await open_door(DEMAND, max_price="0.5", currency="USDC", max_age=0)
    headers = {
        "Authorization": "Bearer secret",
        "X-Own": "1",
        "Connection": "keep-alive, x-hop",
        "X-Hop": "2",
        "Accept-Encoding": "br",
        "TE": "trailers",
        "Autopay-Max-Price": "0.25",
        "Idempotency-Key": "k-1",
        "Content-Type": "text/plain",
    }
    await door.call("https://shop.example/data?q=a%20b#part", "POST", headers, b"ask\xff")
    [ask] = backend.asks
    assert (ask.id, ask.url, ask.method, ask.content) == (
        "k-1",
        "https://shop.example/data?q=a%20b",
        "POST",
        b"ask\xff",
    )
    assert (ask.max_price_atomic, ask.currency, ask.max_age_s) == (250_000, "USDC", 0)
    sent = {name: value for name, value in ask.headers.items() if name not in ("accept", "user-agent")}
    assert sent == {
        "authorization": "Bearer secret",
        "x-own": "1",
        "idempotency-key": "k-1",
        "content-type": "text/plain",
    }
    [asked] = door.seller.asked
    assert not any(name.lower().startswith("autopay-") for name in asked.headers)
    assert asked.body == b"ask\xff"


async def test_a_user_and_password_in_the_url_go_as_a_header_only(open_door: OpenDoor, backend: MemoryBackend) -> None:
    door = await open_door(DEMAND)
    await door.call("https://me:secret@shop.example:8443/data")
    [ask] = backend.asks
    assert ask.url == "https://shop.example:8443/data"
    assert ask.headers["authorization"].startswith("Basic ")


async def test_a_body_that_can_be_read_once_is_kept_while_it_is_sent(
    open_door: OpenDoor, backend: MemoryBackend
) -> None:
    door = await open_door(DEMAND)
    seen = await door.call(method="POST", body=door.stream_of(b"one ", b"two ", b"three"))
    assert seen.receipt.transaction == TRANSACTION
    assert (backend.asks[0].content, door.seller.asked[0].body) == (b"one two three", b"one two three")


async def test_a_stream_that_is_longer_than_can_be_paid_for_is_sent_and_not_kept(
    open_door: OpenDoor, backend: MemoryBackend
) -> None:
    door = await open_door(DEMAND)
    seen = await door.call(method="POST", body=door.stream_of(*([b"x" * 50_000] * 10)))
    assert (seen.status, seen.receipt.type, len(door.seller.asked[0].body)) == (402, "too_large", 500_000)


@pytest.mark.parametrize(
    ("timeout", "waits_s"),
    [
        pytest.param(None, 120, id="the library's own"),
        pytest.param(2, 120, id="a short one is meant for plain answers"),
        pytest.param(600, 600, id="a long one"),
        pytest.param((3, 300), 300, id="a pair"),
    ],
)
async def test_the_wait_for_a_paid_answer_follows_the_read_timeout_when_that_is_longer(
    open_door: OpenDoor, backend: MemoryBackend, timeout: Any, waits_s: float
) -> None:
    door = await open_door(DEMAND)
    if isinstance(timeout, tuple) and door.name != "requests":
        timeout = door.library.Timeout(timeout[0], read=timeout[1])
    await door.call(timeout=timeout)
    assert backend.asks[0].timeout_s == waits_s


async def test_a_timeout_of_the_transport_or_the_request_goes_before(
    open_door: OpenDoor, backend: MemoryBackend
) -> None:
    door = await open_door(DEMAND, timeout=7)
    await door.call(timeout=600)
    await door.call(says={"timeout": 9})
    assert [ask.timeout_s for ask in backend.asks] == [7, 9]


# Keys


async def test_without_a_key_each_call_is_a_purchase_of_its_own(open_door: OpenDoor, backend: MemoryBackend) -> None:
    door = await open_door(DEMAND)
    first, second = await door.call(), await door.call()
    assert first.receipt.id != second.receipt.id
    assert len(backend.paid) == 2
    assert backend.recalled == []


async def test_the_same_key_pays_once_although_the_seller_is_down_now(
    open_door: OpenDoor, backend: MemoryBackend
) -> None:
    door = await open_door(DEMAND)
    first = await door.call(says={"id": "report-7"})
    door.seller.is_down = True
    second = await door.call(headers={"Idempotency-Key": "report-7"})
    assert (first.receipt, first.content) == (second.receipt, second.content)
    assert backend.paid == ["report-7"]
    assert len(door.seller.asked) == 1


async def test_the_same_key_is_answered_although_the_seller_answers_otherwise_now(
    open_door: OpenDoor, backend: MemoryBackend
) -> None:
    door = await open_door(DEMAND, Answered(500))
    await door.call(says={"id": "report-7"})
    assert (await door.call(says={"id": "report-7"})).status == 200


async def test_a_key_that_was_never_used_asks_the_seller(open_door: OpenDoor, backend: MemoryBackend) -> None:
    door = await open_door(Answered(200, {}, b"free"))
    seen = await door.call(says={"id": "report-8"})
    assert (seen.content, seen.receipt, backend.recalled, backend.asks) == (b"free", None, ["report-8"], [])


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("stainless-python-retry-6f1c9d1e-0000-4a4a-8888-0123456789ab", id="of the openai client"),
        pytest.param("a/b c", id="slash and blank"),
        pytest.param('"8e03978e-40d5-43dd-bc93-6894a57f9324"', id="in quotes, as the draft of the header has it"),
        pytest.param("x" * 255, id="long"),
        pytest.param("-begins-with-a-dash", id="dash"),
    ],
)
async def test_any_key_is_one_id_for_ever(open_door: OpenDoor, backend: MemoryBackend, key: str) -> None:
    door = await open_door(DEMAND)
    first = await door.call(headers={"Idempotency-Key": key})
    second = await door.call(headers={"Idempotency-Key": key})
    assert first.receipt.id == second.receipt.id
    assert is_request_id(first.receipt.id)
    assert len(backend.paid) == 1


async def test_what_the_request_says_goes_before_its_header(open_door: OpenDoor, backend: MemoryBackend) -> None:
    door = await open_door(DEMAND)
    seen = await door.call(headers={"Idempotency-Key": "from-header"}, says={"id": "said"})
    if door.name != "requests":
        assert seen.receipt.id == "said"
    assert len(backend.paid) == 1


async def test_a_redirect_keeps_the_key_and_pays_once(open_door: OpenDoor, backend: MemoryBackend) -> None:
    away = Answered(307, {"location": "https://shop.example/moved"})
    door = await open_door(away, DEMAND, away)
    first = await door.call(says={"id": "moved-1"})
    second = await door.call(says={"id": "moved-1"})
    assert [ask.url for ask in backend.asks[:1]] == ["https://shop.example/moved"]
    assert (first.content, first.receipt) == (second.content, second.receipt)
    assert backend.paid == ["moved-1"]


async def test_a_key_of_another_request_is_an_error_of_the_caller(open_door: OpenDoor, backend: MemoryBackend) -> None:
    door = await open_door(DEMAND)
    await door.call(says={"id": "report-7"})
    with pytest.raises(door.module.InvalidPayment) as raised:
        await door.call("https://shop.example/other", says={"id": "report-7"})
    assert (raised.value.type, raised.value.purchase.id) == ("terms_differ", "report-7")
    assert isinstance(raised.value.__cause__, TermsDiffer)
    assert backend.paid == ["report-7"]


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(Unreachable("the ledger is away"), id="the ledger"),
        pytest.param(AgentNotAnswering("no worker runs"), id="the agent"),
        pytest.param(CallFailed("?"), id="anything"),
    ],
)
async def test_a_repetition_without_a_key_goes_on_with_what_had_no_answer(
    open_door: OpenDoor, backend: MemoryBackend, error: AutopayError
) -> None:
    door = await open_door(DEMAND)
    backend.ends = [error]
    with pytest.raises(_base(door)):
        await door.call(headers={"x-stainless-retry-count": "0"})
    seen = await door.call(headers={"x-stainless-retry-count": "1"})
    assert [ask.id for ask in backend.asks] == [seen.receipt.id] * 2
    later = await door.call()
    assert later.receipt.id != seen.receipt.id


async def test_a_seller_that_fails_in_between_does_not_end_the_repetition(
    open_door: OpenDoor, backend: MemoryBackend
) -> None:
    door = await open_door(DEMAND, Answered(503), DEMAND)
    backend.ends = [AgentNotAnswering("no worker runs")]
    with pytest.raises(_base(door)):
        await door.call()
    assert (await door.call()).status == 503
    seen = await door.call()
    assert [ask.id for ask in backend.asks] == [seen.receipt.id] * 2


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"url": "https://shop.example/other"}, id="URL"),
        pytest.param({"headers": {"authorization": "Bearer somebody-else"}}, id="whose request it is"),
        pytest.param({"says": {"max_price": "0.9"}}, id="the price"),
        pytest.param({"method": "POST", "body": b"x"}, id="body"),
        pytest.param({"says": {"id": "a-key"}}, id="a key of its own"),
    ],
)
async def test_a_call_that_differs_is_no_repetition(
    open_door: OpenDoor, backend: MemoryBackend, other: dict[str, Any]
) -> None:
    door = await open_door(DEMAND)
    backend.ends = [{"status": RequestStatus.WAITING, "content": None}]
    with pytest.raises(door.module.PaymentUnfinished):
        await door.call()
    seen = await door.call(**other)
    assert seen.receipt.id != backend.asks[0].id


# How a call ends


def _base(door: Door) -> type[Exception]:
    kind: type[Exception] = requests.RequestException if door.name == "requests" else door.library.HTTPError
    return kind


_SAID = RequestError(type="above_request_limit", message="0.002 USDC is above the policy's 0.001")


async def test_a_refusal_says_by_which_rule_and_has_the_demand(open_door: OpenDoor, backend: MemoryBackend) -> None:
    door = await open_door(Answered(402, DEMAND_HEADERS, b"the demand"))
    backend.ends = [{"status": RequestStatus.REFUSED, "error": _SAID, "content": None, "transaction": None}]
    with pytest.raises(door.module.PaymentRefused, match="above the policy's") as raised:
        await door.call(says={"id": "dear-1"})
    assert raised.value.type == "above_request_limit"
    assert (raised.value.response.status_code, raised.value.response.content) == (402, b"the demand")
    assert raised.value.request.url is not None
    assert isinstance(raised.value, _base(door))
    assert isinstance(raised.value.__cause__, PurchaseRefused)
    with pytest.raises(door.module.PaymentRefused) as again:
        await door.call(says={"id": "dear-1"})
    assert (again.value.type, again.value.response.status_code) == ("above_request_limit", 402)
    assert len(door.seller.asked) == 1


@pytest.mark.parametrize(
    ("end", "name", "kind", "request_id"),
    [
        pytest.param({"status": RequestStatus.FAILED}, "PaymentFailed", "failed", "k", id="failed"),
        pytest.param({"status": RequestStatus.UNDELIVERED}, "PaymentUndelivered", "undelivered", "k", id="undelivered"),
        pytest.param({"pruned": "thrown away"}, "PaymentUndelivered", "delivered", "k", id="thrown away since"),
        pytest.param({"status": RequestStatus.WAITING}, "PaymentUnfinished", "waiting", "k", id="waiting"),
        pytest.param({"status": RequestStatus.UNRESOLVED}, "PaymentUnfinished", "unresolved", "k", id="unresolved"),
        pytest.param(Unreachable("away"), "AutopayUnreachable", "unreachable", "k", id="unreachable"),
        pytest.param(Misconfigured("no keyring"), "InvalidPayment", "misconfigured", "k", id="a setting"),
        pytest.param(InvalidCall("no agent", "unknown_agent"), "InvalidPayment", "unknown_agent", "k", id="no agent"),
        pytest.param(CallFailed("?"), "PaymentCallFailed", "call_failed", "k", id="anything"),
    ],
)
async def test_each_ending_is_an_error_of_the_library(
    open_door: OpenDoor,
    backend: MemoryBackend,
    end: dict[str, object] | AutopayError,
    name: str,
    kind: str,
    request_id: str,
) -> None:
    door = await open_door(DEMAND)
    backend.ends = [end if isinstance(end, AutopayError) else {"content": None, **end}]
    error = getattr(door.module, name)
    with pytest.raises(error) as raised:
        await door.call(says={"id": "k"})
    assert (raised.value.type, raised.value.request_id) == (kind, request_id)
    assert isinstance(raised.value, _base(door))
    assert isinstance(raised.value.__cause__, AutopayError)


async def test_an_unfinished_payment_is_a_read_timeout_that_names_the_key(
    open_door: OpenDoor, backend: MemoryBackend
) -> None:
    door = await open_door(DEMAND, timeout=3)
    backend.ends = [{"status": RequestStatus.WAITING, "content": None}]
    timeout = requests.ReadTimeout if door.name == "requests" else door.library.ReadTimeout
    with pytest.raises(timeout, match=r"within 3 s; the idempotency key 'slow-1' goes on with it") as raised:
        await door.call(says={"id": "slow-1"})
    assert isinstance(raised.value.__cause__, PurchaseUnfinished)
    assert (await door.call(says={"id": "slow-1"})).receipt.transaction == TRANSACTION
    assert backend.paid == ["slow-1"]


async def test_an_unfinished_payment_says_that_its_agent_is_paused(open_door: OpenDoor, backend: MemoryBackend) -> None:
    door = await open_door(DEMAND)
    backend.paused = "the month is over"
    backend.ends = [{"status": RequestStatus.WAITING, "content": None}]
    with pytest.raises(door.module.PaymentUnfinished, match="agent research is paused: the month is over"):
        await door.call()


async def test_a_ledger_that_is_away_is_no_reason_to_ask_the_seller_first(
    open_door: OpenDoor, backend: MemoryBackend
) -> None:
    door = await open_door(Answered(200, {}, b"free"))
    backend.unreachable = Unreachable("away")
    with pytest.raises(door.module.AutopayUnreachable):
        await door.call(says={"id": "report-7"})
    assert door.seller.asked == []
    assert (await door.call()).content == b"free"


@pytest.mark.parametrize(
    "says",
    [
        pytest.param({"maxprice": "0.01"}, id="a name that there is not"),
        pytest.param({"max_price": 0.01}, id="a price that is not exact"),
        pytest.param({"max_price": "much"}, id="a price that is none"),
        pytest.param({"max_price": "0"}, id="a price of nothing"),
        pytest.param({"currency": "EUR"}, id="a currency"),
        pytest.param({"max_age": "soon"}, id="an age"),
        pytest.param({"max_age": "-1"}, id="an age before now"),
        pytest.param({"timeout": "long"}, id="a time-out"),
        pytest.param({"timeout": math.inf}, id="no end"),
    ],
)
async def test_what_means_nothing_sends_nothing(
    open_door: OpenDoor, backend: MemoryBackend, says: dict[str, object]
) -> None:
    door = await open_door(DEMAND)
    if door.name == "requests" and says == {"max_price": 0.01}:
        pytest.skip("a header is a text")
    with pytest.raises(door.module.InvalidPayment) as raised:
        await door.call(says=says)
    assert raised.value.type == "invalid_call"
    assert (door.seller.asked, backend.asks) == ([], [])


@pytest.mark.parametrize("given", [7, "text", {"id": 7}, {"id": ""}, ["id"]])
@pytest.mark.parametrize("library", ["httpx", "httpx2"])
async def test_extensions_of_another_shape_send_nothing(library: str, given: Any) -> None:
    async with Door(library, Seller([DEMAND]), is_async=True) as door:
        with pytest.raises(door.module.InvalidPayment):
            await door.call(says=given)
        assert door.seller.asked == []


# Contents


@pytest.mark.parametrize(
    ("fields", "content", "text"),
    [
        pytest.param(
            {"content": "é".encode(), "content_type": "text/plain; charset=utf-8"}, "é".encode(), "é", id="UTF-8"
        ),
        pytest.param({"content": b"\xe9", "content_type": "text/plain; charset=latin-1"}, b"\xe9", "é", id="Latin-1"),
        pytest.param({"content": b"", "content_type": "text/plain"}, b"", "", id="empty"),
        pytest.param({"content": gzip.compress(b"x"), "content_encoding": "gzip"}, b"x", "x", id="still encoded"),
        pytest.param({"content": b"plain", "content_encoding": "gzip"}, b"plain", "plain", id="mislabelled"),
        pytest.param({"content": b"plain", "content_encoding": "unknown-1"}, b"plain", "plain", id="unknown coding"),
    ],
)
async def test_the_content_is_what_was_paid_for_however_it_came(
    open_door: OpenDoor, backend: MemoryBackend, fields: dict[str, object], content: bytes, text: str
) -> None:
    door = await open_door(DEMAND)
    backend.ends = [fields]
    seen = await door.call()
    assert (seen.content, seen.response.text) == (content, text)


@pytest.mark.parametrize("said", ["text/plain; name=é", "text/plain; name=\u65e5\u672c", "text/plain; charset=no-such"])
async def test_what_a_seller_says_of_its_content_keeps_nobody_from_it(
    open_door: OpenDoor, backend: MemoryBackend, said: str
) -> None:
    door = await open_door(DEMAND)
    backend.ends = [{"content": b"paid", "content_type": said, "content_location": f"/{said}"}]
    seen = await door.call()
    assert (seen.content, seen.response.text, seen.headers["content-type"]) == (b"paid", "paid", said)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        pytest.param({"http_status": 201}, 201, id="the seller's"),
        pytest.param({"http_status": 299}, 299, id="one without a name"),
        pytest.param({"status": RequestStatus.FRESH, "http_status": None}, 200, id="bought before"),
        pytest.param({"status": RequestStatus.FREE, "price": None, "transaction": None}, 200, id="free by now"),
        pytest.param({"http_status": 402}, 200, id="of an answer before"),
    ],
)
async def test_the_status_is_the_sellers(
    open_door: OpenDoor, backend: MemoryBackend, fields: dict[str, object], status: int
) -> None:
    door = await open_door(DEMAND)
    backend.ends = [fields]
    assert (await door.call()).status == status


async def test_a_receipt_says_when_the_end_is_missing(open_door: OpenDoor, backend: MemoryBackend) -> None:
    door = await open_door(DEMAND)
    backend.ends = [{"content_complete": False}]
    seen = await door.call()
    assert (seen.receipt.content_complete, seen.headers["autopay-content-complete"]) == (False, "false")


# Its life


async def test_a_closed_transport_is_not_used_again(open_door: OpenDoor, backend: MemoryBackend) -> None:
    door = await open_door(DEMAND)
    await door.call()
    if door.is_async:
        await door.transport.aclose()
    else:
        door.transport.close()
    assert backend.closed == 1
    with pytest.raises(RuntimeError, match="closed"):
        await door.call()


@pytest.mark.parametrize("agent", ["", "a b", "x" * 61])
@pytest.mark.parametrize("make", [httpx, httpx2, requests])
def test_a_name_that_no_agent_has_is_refused_at_once(agent: str, make: Any) -> None:
    module: Any = __import__(f"autopay.{make.__name__}", fromlist=["Transport"])
    kind = module.Adapter if make is requests else module.Transport
    with pytest.raises(InvalidCall, match="cannot be an agent's name"):
        kind(agent)
    with pytest.raises(InvalidCall, match="max_price"):
        kind("research", max_price=0.1)


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
async def test_closing_one_side_leaves_the_other(library: str, backend: MemoryBackend) -> None:
    async with Door(library, Seller([DEMAND])) as door:
        await door.call()
        async with door.library.AsyncClient(transport=door.transport) as both:
            assert (await both.get("https://shop.example/data")).status_code == 200
        await door.call()
    assert len(backend.paid) == 3
