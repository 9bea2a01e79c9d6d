"""What passes through the transports of httpx, httpx2 and requests, what is paid, and what comes of it."""

import gzip
import json
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from autopay.client.paid_http import MOST_DEMAND_BYTES
from autopay.client.values import Receipt
from autopay.domain.request import RequestStatus
from autopay.transport.demand import MAX_BODY_BYTES, NotPaid
from tests.unit.bought import TRANSACTION, MemoryBackend
from tests.unit.transports.doors import DEMAND, DEMAND_HEADERS, OFFER, Answered, OpenDoor

pytestmark = pytest.mark.usefixtures("backend")


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
    with pytest.raises(door.base_error):
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
