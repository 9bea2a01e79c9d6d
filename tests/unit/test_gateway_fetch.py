"""`POST /fetch` and the other calls of the gateway, as it is served, over a backend in memory."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import httpx
import pytest

from autopay.client.errors import (
    AgentNotRunning,
    AutopayError,
    CallFailed,
    InvalidCall,
    Misconfigured,
    Unreachable,
)
from autopay.client.paid_http import id_of_key
from autopay.client.values import Ask, Purchase
from autopay.domain.request import RequestError, RequestStatus
from autopay.gateway.orders import Defaults
from tests.unit.gateway_parts import Place, Shop, purchase, refused, served

URL = "https://api.example.com/report"


@pytest.fixture(scope="module")
async def running() -> AsyncIterator[Place]:
    async with served("http://127.0.0.1:9", Shop()) as found:
        yield found


@pytest.fixture
def place(running: Place) -> Place:
    return running.renewed()


async def fetch(place: Place, sent: dict[str, str] | None = None, /, **order: Any) -> httpx.Response:
    """Ask for the report, with these headers."""
    return await place.http.post("/fetch", json={"url": URL, **order}, headers=sent)


async def test_the_content_comes_as_it_was_bought_with_its_receipt_in_headers(place: Place) -> None:
    answer = await fetch(place, id="r1", max_price="0.01", agent="research")
    assert (answer.status_code, answer.content) == (200, b'{"quotes": [1]}')
    told = {name: value for name, value in answer.headers.items() if name.startswith("autopay-")}
    receipt = json.loads(told.pop("autopay-receipt"))
    assert told == {
        "autopay-id": "r1",
        "autopay-agent": "default",
        "autopay-status": "delivered",
        "autopay-price": "0.001",
        "autopay-currency": "USDC",
        "autopay-pay-to": "Payee111",
        "autopay-transaction": "Sig111",
    }
    assert (receipt["transaction"], receipt["price"]) == ("Sig111", "0.001")
    assert answer.headers["content-type"] == "application/json"
    [(agent, ask)] = place.books.asked
    assert (agent, ask.id, ask.max_price_atomic, ask.method) == ("research", "r1", 10_000, "GET")


async def test_the_whole_purchase_comes_to_who_accepts_it_whatever_became_of_it(place: Place) -> None:
    accept = {"Accept": "application/vnd.autopay+json"}
    answer = await fetch(place, accept)
    assert Purchase.model_validate_json(answer.content).content == b'{"quotes": [1]}'
    place.books.answer = refused("price_above_maximum", "it asks for 5")
    answer = await fetch(place, accept)
    found = Purchase.model_validate_json(answer.content)
    assert (answer.status_code, found.status, found.error and found.error.type) == (
        200, RequestStatus.REFUSED, "price_above_maximum",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        pytest.param({"body": "plain"}, (b"plain", "POST", {}), id="a text"),
        pytest.param({"json": {"a": 1}}, (b'{"a": 1}', "POST", {"Content-Type": "application/json"}), id="any JSON"),
        pytest.param({"content": base64.b64encode(b"\0\xff").decode()}, (b"\0\xff", "POST", {}), id="bytes"),
        pytest.param({"content": "AP8"}, (b"\0\xff", "POST", {}), id="base64 without padding"),
        pytest.param({"method": "post", "headers": {"A": "b"}}, (None, "POST", {"A": "b"}), id="a method, no body"),
    ],
)
async def test_a_body_is_a_text_json_or_bytes(place: Place, order: dict[str, Any], expected: tuple[Any, ...]) -> None:
    assert (await fetch(place, **order)).status_code == 200
    [(_, ask)] = place.books.asked
    assert (ask.content, ask.method, ask.headers) == expected


@pytest.mark.parametrize(
    ("order", "named"),
    [
        pytest.param({"max_prize": "1"}, "max_prize", id="a mistyped field is not overlooked"),
        pytest.param({"max_price": "0.0000001"}, "max_price", id="finer than the token"),
        pytest.param({"max_price": -1}, "max_price", id="negative"),
        pytest.param({"body": "a", "json": 1}, "one of body", id="two bodies"),
        pytest.param({"content": "*"}, "content", id="no base64"),
        pytest.param({"method": "PUT"}, "PUT", id="a method that cannot be paid"),
        pytest.param({"agent": "no such name"}, "agent", id="no agent's name"),
        pytest.param({"id": "a b"}, "id", id="no id"),
        pytest.param({"timeout": 1e9}, "timeout", id="for ever"),
        pytest.param({"timeout": "soon"}, "timeout", id="no duration"),
        pytest.param({"max_age": "old"}, "max_age", id="no age"),
        pytest.param({"currency": "EUR"}, "currency", id="no currency of ours"),
        pytest.param({"url": "ftp://example.com/"}, "http(s)", id="no http"),
        pytest.param({"url": "https://u:p@example.com/"}, "user and password", id="a password in the URL"),
    ],
)
async def test_what_cannot_be_asked_is_told_by_the_name_of_its_field(
    place: Place, order: dict[str, Any], named: str
) -> None:
    answer = await fetch(place, **order)
    assert answer.status_code in (403, 422)
    assert answer.headers["content-type"] == "application/problem+json"
    assert named in answer.json()["detail"]
    assert place.books.asked == []


async def test_a_price_in_json_is_taken_to_the_unit(place: Place) -> None:
    body = '{"url": "https://api.example.com/report", "max_price": 0.010001}'
    assert (await place.http.post("/fetch", content=body)).status_code == 200
    assert place.books.asked[0][1].max_price_atomic == 10_001


async def test_headers_may_say_what_the_json_leaves_out_and_nothing_is_said_twice(place: Place) -> None:
    said = {"Idempotency-Key": '"k1"', "Autopay-Max-Price": "0.01", "Autopay-Agent": "a", "Autopay-Max-Age": "5m"}
    assert (await fetch(place, said)).status_code == 200
    agent, ask = place.books.asked[-1]
    assert (agent, ask.id, ask.max_price_atomic, ask.max_age_s) == ("a", "k1", 10_000, 300)
    for headers, order in (
        ({"Idempotency-Key": "k1"}, {"id": "k2"}),
        ({"Idempotency-Key": "k1", "Autopay-Id": "k1"}, {}),
        ({"Autopay-MaxPrice": "0.01"}, {}),
    ):
        assert (await fetch(place, headers, **order)).status_code == 422
    assert len(place.books.asked) == 1


def ended(status: RequestStatus, kind: str, **more: Any) -> Any:
    """What a backend answers of a request with that status."""
    unpaid = {"content": None, "error": RequestError(type=kind, message="why")}
    return lambda ask: purchase(ask.id, **{"status": status, **unpaid, **more})


@pytest.mark.parametrize(
    ("answer", "status", "kind", "rule"),
    [
        pytest.param(refused("price_above_maximum"), 402, "refused", "price_above_maximum", id="by the price"),
        pytest.param(refused("approval_denied"), 402, "refused", "approval_denied", id="by a person"),
        pytest.param(refused("address_not_allowed"), 403, "refused", "address_not_allowed", id="by its address"),
        pytest.param(refused("queue_full"), 503, "refused", "queue_full", id="by a full queue"),
        pytest.param(ended(RequestStatus.FAILED, "seller_rejected"), 502, "failed", "seller_rejected", id="failed"),
        pytest.param(
            ended(RequestStatus.UNDELIVERED, "no_content"), 502, "undelivered", "no_content", id="undelivered"
        ),
        pytest.param(
            lambda ask: purchase(ask.id, status=RequestStatus.UNRESOLVED, content=None),
            504, "unfinished", "unresolved", id="unfinished",
        ),
        pytest.param(
            lambda ask: purchase(ask.id, terms_differ=True, error=RequestError(type="terms_differ", message="other")),
            422, "terms-differ", "terms_differ", id="a key with other terms",
        ),
        pytest.param(lambda ask: purchase(ask.id, pruned="gone"), 410, "pruned", "content_pruned", id="thrown away"),
    ],
)  # fmt: skip
async def test_a_purchase_without_content_is_a_problem_with_its_rule_and_its_id(
    place: Place, answer: Any, status: int, kind: str, rule: str
) -> None:
    place.books.answer = answer
    told = await fetch(place, id="r1")
    problem = told.json()
    assert (told.status_code, problem["status"], problem["type"], problem["rule"], problem["id"]) == (
        status, status, f"urn:autopay:{kind}", rule, "r1",
    )  # fmt: skip
    assert told.headers["autopay-rule"] == rule
    assert ("retry-after" in told.headers) == (status in (503, 504))


@pytest.mark.parametrize(
    ("error", "status"),
    [
        pytest.param(InvalidCall("there is no agent", "unknown_agent"), 404, id="no such agent"),
        pytest.param(AgentNotRunning("research"), 409, id="an agent that does not run"),
        pytest.param(InvalidCall("too large", "too_large"), 413, id="too large"),
        pytest.param(Misconfigured("AUTOPAY_KEYRING is another"), 500, id="a setting"),
        pytest.param(Unreachable("Temporal is away"), 503, id="something is away"),
        pytest.param(CallFailed("odd"), 500, id="anything else"),
    ],
)
async def test_an_error_of_the_backend_is_a_problem_with_the_id_to_ask_again_with(
    place: Place, error: AutopayError, status: int
) -> None:
    place.books.error = error
    told = await fetch(place, id="r1")
    assert (told.status_code, told.json()["rule"], told.json()["id"]) == (status, error.type, "r1")


@pytest.mark.parametrize(
    ("changes", "status", "headers"),
    [
        pytest.param({"http_status": 201}, 201, {}, id="the seller's own status"),
        pytest.param({"status": "fresh", "http_status": None}, 200, {"autopay-status": "fresh"}, id="bought before"),
        pytest.param({"content_type": "text/csv"}, 200, {"content-type": "text/csv"}, id="a type as it came"),
        pytest.param({"content_type": None}, 200, {"content-type": "application/octet-stream"}, id="no type"),
        pytest.param({"content_complete": False}, 200, {"autopay-content-complete": "false"}, id="its end is missing"),
        pytest.param({"content_encoding": "br"}, 200, {"content-encoding": "br"}, id="a coding for the caller"),
        pytest.param(
            {"content_encoding": "gzip"}, 200, {"autopay-content-encoding": "gzip"}, id="a coding that is not true"
        ),
    ],
)
async def test_content_comes_with_what_is_to_know_of_it(
    place: Place, changes: dict[str, Any], status: int, headers: dict[str, str]
) -> None:
    place.books.answer = lambda ask: purchase(ask.id, **changes)
    async with place.http.stream("POST", "/fetch", json={"url": URL}) as answer:
        raw = b"".join([chunk async for chunk in answer.aiter_raw()])
    assert (answer.status_code, raw) == (status, b'{"quotes": [1]}')
    assert {name: answer.headers[name] for name in headers} == headers


async def test_a_sellers_text_cannot_make_a_header_of_its_own(place: Place) -> None:
    odd = "text/html\r\nSet-Cookie: a=b"
    place.books.answer = lambda ask: purchase(ask.id, content_type=odd, content_location="/a\r\nX-Evil: 1")
    answer = await fetch(place)
    assert answer.status_code == 200
    assert {"set-cookie", "x-evil"}.isdisjoint(answer.headers)


async def test_a_caller_that_goes_away_is_not_waited_for_and_takes_its_request_up_again(place: Place) -> None:
    place.books.hold = asyncio.Event()
    with pytest.raises(httpx.ReadTimeout):
        await place.http.post("/fetch", json={"url": URL}, timeout=0.3)
    await place.books.until(lambda: place.books.canceled == 1)
    place.books.hold = None
    again = await fetch(place)
    assert [ask.id for _, ask in place.books.asked] == [again.headers["autopay-id"]] * 2
    anew = await fetch(place)
    assert anew.headers["autopay-id"] != again.headers["autopay-id"]


async def test_a_client_that_counts_its_tries_in_a_header_takes_its_request_up_as_well(place: Place) -> None:
    place.books.answer = ended(RequestStatus.UNDELIVERED, "no_content")
    tries = [(await fetch(place, headers={"X-Stainless-Retry-Count": str(count)})).json()["id"] for count in range(3)]
    assert len(set(tries)) == 1


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"max_price": "0.02"}, id="another price"),
        pytest.param({"agent": "other"}, id="another agent"),
        pytest.param({"headers": {"A": "b"}}, id="another header"),
        pytest.param({"body": "x"}, id="another body"),
        pytest.param({"id": "own"}, id="a key of its own"),
    ],
)
async def test_only_the_same_request_without_a_key_is_taken_up(place: Place, changes: dict[str, Any]) -> None:
    place.books.answer = ended(RequestStatus.UNDELIVERED, "paid_undelivered")
    first = (await fetch(place)).json()["id"]
    assert (await fetch(place, **changes)).json()["id"] != first
    assert (await fetch(place)).json()["id"] == first


async def test_a_stopping_gateway_tells_who_waits_to_ask_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autopay.gateway.purchases.GRACE_S", 0.05)
    async with served("http://127.0.0.1:9", Shop()) as place:
        place.books.hold = asyncio.Event()
        asking = asyncio.create_task(fetch(place, id="r1"))
        keyless = asyncio.create_task(fetch(place))
        await place.books.until(lambda: len(place.books.asked) == 2)
        place.server.stop()
        told, told_keyless = await asking, await keyless
        assert (told.status_code, told.json()["rule"], told.json()["id"]) == (503, "gateway_stopping", "r1")
        assert "x-should-retry" not in told.headers
        assert told_keyless.headers["x-should-retry"] == "false"
    assert place.books.calls[-1] == ("close",)


async def test_events_tell_what_it_waits_for_and_end_with_the_purchase(place: Place) -> None:
    place.books.tells = ("waits in the queue", "signed")
    answer = await fetch(place, {"Accept": "text/event-stream"})
    names = [line.partition(": ")[2] for line in answer.text.splitlines() if line.startswith("event")]
    assert names == ["progress", "progress", "purchase"]
    place.books.error = Unreachable("away")
    answer = await fetch(place, {"Accept": "text/event-stream"})
    assert "event: problem" in answer.text


async def test_the_other_calls_ask_the_backend(place: Place) -> None:
    quote = (await place.http.post("/quote", json={"url": URL})).json()
    assert quote["price"] == "0.001"
    assert (await place.http.get("/budget", params={"agent": "a"})).json()["per_request"] == "0.1"
    assert (await place.http.get("/agents")).json()[0]["agent"] == "default"
    assert (await place.http.get("/approvals")).json() == []
    assert (await place.http.post("/pause", params={"reason": "night"})).status_code == 202
    assert (await place.http.post("/resume", headers={"Autopay-Agent": "b"})).status_code == 202
    assert (await place.http.post("/requests/r1/cancel")).status_code == 202
    query = {"since": "2026-01-31T12:00:00Z", "host": "a.example", "limit": "3"}
    assert (await place.http.get("/purchases", params=query)).json() == []
    assert place.books.calls[:3] == [("pause", "default", "night"), ("resume", "b"), ("cancel", "default", "r1")]
    assert place.books.calls[3][3:] == ("a.example", 3)
    assert (await place.http.get("/health")).json() == {"status": "ok"}


async def test_a_request_is_looked_at_by_its_id(place: Place) -> None:
    assert (await place.http.get("/requests/r1")).status_code == 404
    await fetch(place, id="r1")
    found = await place.http.get("/requests/r1", params={"wait": "2.5"})
    assert (found.content, found.headers["autopay-transaction"]) == (b'{"quotes": [1]}', "Sig111")
    assert place.books.calls[-1] == ("result", "default", "r1", 2.5)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        pytest.param("GET", "/nothing", 404, id="no such path"),
        pytest.param("GET", "/fetch", 405, id="another method"),
        pytest.param("POST", "/approvals/1/approve", 404, id="nothing is approved over it"),
        pytest.param("GET", "/budget?agent=nobody", 404, id="no such agent"),
        pytest.param("GET", "/purchases?limit=many", 422, id="no number"),
        pytest.param("GET", "/purchases?since=2026-01-31", 422, id="a time without its zone"),
        pytest.param("GET", "/requests/r1?wait=nan", 422, id="not a number"),
    ],
)
async def test_every_error_is_a_problem(place: Place, method: str, path: str, status: int) -> None:
    answer = await place.http.request(method, path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["rule"]


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b'{"url": 1}', b"null"])
async def test_what_is_no_order_is_refused(place: Place, content: bytes) -> None:
    assert (await place.http.post("/fetch", content=content)).status_code == 422


async def test_a_body_without_end_is_cut_off(place: Place) -> None:
    assert (await place.http.post("/fetch", content=b" " * 1_000_001)).status_code == 413


def test_an_ask_in_json_reads_back() -> None:
    ask = Ask(id="a", url=URL, content=b"\xfb\xff")
    assert Ask.model_validate_json(ask.model_dump_json()) == ask


@pytest.mark.parametrize(
    ("said", "atomic"),
    [
        pytest.param({}, 50_000, id="nothing"),
        pytest.param({"max_price": "0.01"}, 10_000, id="less"),
        pytest.param({"max_price": "5"}, 50_000, id="more"),
    ],
)
async def test_no_caller_can_allow_more_than_the_gateway_does(said: dict[str, str], atomic: int) -> None:
    async with served("http://127.0.0.1:9", Shop(), defaults=Defaults("default", Decimal("0.05"))) as place:
        assert (await fetch(place, **said)).status_code == 200
        assert place.books.asked[0][1].max_price_atomic == atomic


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
async def test_a_key_is_the_same_through_the_gateway_and_by_a_transport(place: Place, encoding: str) -> None:
    sent = httpx.Headers({"Idempotency-Key": "Überweisung"}, encoding=encoding)
    assert (await place.http.post("/fetch", json={"url": URL}, headers=sent)).status_code == 200
    assert place.books.asked[0][1].id == id_of_key("Überweisung")


async def test_callers_reach_no_other_agents_than_those_that_the_gateway_names() -> None:
    async with served("http://127.0.0.1:9", Shop(), defaults=Defaults("a", agents=("a", "b"))) as place:
        assert (await fetch(place)).status_code == 200
        assert (await fetch(place, agent="b")).status_code == 200
        told = [
            await fetch(place, agent="trader"),
            await fetch(place, {"Autopay-Agent": "trader"}),
            await place.http.get("/p/https/api.example.com/x", headers={"Autopay-Agent": "trader", "Autopay-Id": "r1"}),
            await place.http.get("/requests/r1?agent=trader"),
            await place.http.post("/requests/r1/cancel?agent=trader"),
            await place.http.get("/purchases?agent=trader"),
            await place.http.get("/budget?agent=trader"),
            await place.http.get("/approvals?agent=trader"),
            await place.http.post("/pause?agent=trader"),
            await place.http.post("/resume?agent=trader"),
        ]
        assert {(answer.status_code, answer.headers["autopay-rule"]) for answer in told} == {(403, "agent_not_allowed")}
        assert [agent for agent, _ in place.books.asked] == ["a", "b"]
        assert (place.books.calls, (await place.http.get("/agents")).json()) == ([], [])
