"""The reverse door of the gateway: what goes through it untouched, and what an agent buys."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from autopay.client.errors import Unreachable
from autopay.domain.policy.reach import Reach
from autopay.domain.request import RequestError, RequestStatus
from tests.unit.gateway_parts import DEMAND_V1, DEMAND_V2, Place, Shop, purchase, refused, served, served_shop


async def resolve(host: str, port: int) -> Sequence[str]:
    """Names that mean what their owners like."""
    found = {"rebound.example": ["10.0.0.1"], "local.example": ["127.0.0.1"]}
    if host not in found:
        raise OSError("no such name")
    return found[host]


@pytest.fixture(scope="module")
async def running() -> AsyncIterator[Place]:
    shop = Shop()
    async with served_shop(shop) as url, served(url, shop, resolve=resolve) as found:
        yield found


@pytest.fixture
def place(running: Place) -> Place:
    return running.renewed()


async def test_a_free_answer_goes_through_untouched(place: Place) -> None:
    place.shop.headers = {"X-Quota": "7", "Set-Cookie": "a=b", "Cache-Control": "no-store", "Connection": "close"}
    answer = await place.http.get(place.door("/free?q=a%2Fb&c=%C3%BC"))
    assert answer.json() == {"path": "/free", "query": "q=a%2Fb&c=%C3%BC"}
    assert (answer.headers["x-quota"], answer.headers["cache-control"]) == ("7", "no-store")
    assert "set-cookie" not in answer.headers
    assert place.books.asked == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_any_method_goes_through(place: Place, method: str) -> None:
    answer = await place.http.request(method, place.door("/free"), content=b"x" if method == "PUT" else None)
    assert answer.status_code == 200
    assert [each.method for each in place.shop.seen] == [method]
    assert place.shop.bodies == [b"x" if method == "PUT" else b""]


async def test_the_sellers_errors_go_through(place: Place) -> None:
    for path, status in (("/none", 404), ("/quota", 402)):
        assert (await place.http.get(place.door(path))).status_code == status
    assert place.books.asked == []


async def test_events_come_as_they_are_sent_and_end_with_the_caller(place: Place) -> None:
    async with place.http.stream("GET", place.door("/events")) as answer:
        chunks = answer.aiter_raw()
        assert await anext(chunks) == b"data: first\n\n"
        place.shop.more.set()
        assert await anext(chunks) == b"data: second\n\n"


async def test_a_caller_that_goes_away_in_mid_stream_leaves_no_connection_behind(place: Place) -> None:
    async with place.http.stream("GET", place.door("/events")) as answer:
        assert await anext(answer.aiter_raw()) == b"data: first\n\n"
    async with asyncio.timeout(10):
        await place.shop.ended.wait()  # the shop is not told until its connection is closed


async def test_the_seller_sees_the_callers_headers_and_none_that_are_for_autopay(place: Place) -> None:
    sent = {
        "Authorization": "Bearer sk-seller",
        "X-Own": "1",
        "Idempotency-Key": "k1",
        "Autopay-Agent": "a",
        "Autopay-Max-Price": "0.01",
        "Autopay-Max-Age": "60",
        "Autopay-Token": "mistaken",
        "Connection": "keep-alive, X-Hop",
        "X-Hop": "1",
        "TE": "trailers",
        "Proxy-Authorization": "Basic x",
    }
    assert (await place.http.get(place.door("/free"), headers=sent)).status_code == 200
    [seen] = place.shop.seen
    assert (seen.headers["authorization"], seen.headers["x-own"]) == ("Bearer sk-seller", "1")
    assert seen.headers["host"] == place.shop_url.removeprefix("http://")
    hidden = {"idempotency-key", "x-hop", "te", "proxy-authorization", "keep-alive"}
    assert {name for name in seen.headers if name in hidden or name.startswith("autopay-")} == set()


@pytest.mark.parametrize("path", ["/v1", "/v2"])
async def test_a_demand_is_paid_and_the_content_comes_with_its_receipt(place: Place, path: str) -> None:
    sent = {"Idempotency-Key": "k1", "Autopay-Agent": "a", "Autopay-Max-Price": "0.01", "X-Own": "1", "Accept": "x/y"}
    answer = await place.http.post(place.door(path) + "?q=1", content=b'{"ask": 1}', headers=sent)
    assert (answer.status_code, answer.content) == (200, b'{"quotes": [1]}')
    assert (answer.headers["autopay-transaction"], answer.headers["autopay-id"]) == ("Sig111", "k1")
    [(agent, ask)] = place.books.asked
    assert (agent, ask.id, ask.url, ask.method) == ("a", "k1", f"{place.shop_url}{path}?q=1", "POST")
    assert (ask.content, ask.max_price_atomic, ask.headers["x-own"], ask.headers["accept"]) == (
        b'{"ask": 1}', 10_000, "1", "x/y",
    )  # fmt: skip
    assert {"accept-encoding", "host", "content-length", "idempotency-key"}.isdisjoint(ask.headers)
    assert not any(name.startswith("autopay-") for name in ask.headers)


@pytest.mark.parametrize("path", ["/v1", "/v2"])
async def test_what_is_refused_is_the_sellers_own_402_with_our_reason(place: Place, path: str) -> None:
    place.books.answer = refused("price_above_maximum", "it asks for 5 USDC")
    answer = await place.http.get(place.door(path))
    problem = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (402, "application/problem+json")
    assert (problem["type"], problem["rule"]) == ("urn:autopay:refused", "price_above_maximum")
    assert "it asks for 5 USDC" in problem["detail"]
    assert problem["id"] == answer.headers["autopay-id"] == place.books.asked[0][1].id
    assert answer.headers["x-seller"] == "shop"
    assert "etag" not in answer.headers
    if path == "/v2":
        assert answer.headers["payment-required"] == DEMAND_V2
    else:
        assert {name: problem[name] for name in DEMAND_V1} == DEMAND_V1


async def test_a_sellers_body_takes_no_place_of_ours(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DEMAND_V1, "rule", "none")
    monkeypatch.setitem(DEMAND_V1, "receipt", {"transaction": "forged"})
    place.books.answer = refused("price_above_maximum")
    problem = (await place.http.get(place.door("/v1"))).json()
    assert problem["rule"] == "price_above_maximum"
    assert problem["receipt"].get("transaction") is None


@pytest.mark.parametrize("method", ["PUT", "DELETE", "HEAD"])
async def test_a_method_that_cannot_be_paid_for_gets_the_402_with_that_reason(place: Place, method: str) -> None:
    answer = await place.http.request(method, place.door("/v2"))
    assert (answer.status_code, answer.headers["autopay-rule"]) == (402, "method_not_payable")
    assert answer.headers["payment-required"] == DEMAND_V2
    assert place.books.asked == []


async def test_a_long_body_goes_through_and_cannot_be_paid_for(place: Place) -> None:
    body = b"x" * 3_000_000
    assert (await place.http.post(place.door("/free"), content=body)).status_code == 200
    assert place.shop.bodies == [body]
    answer = await place.http.post(place.door("/v2"), content=body)
    assert (answer.status_code, answer.headers["autopay-rule"]) == (402, "too_large")


async def test_a_caller_that_pays_by_itself_is_let_through(place: Place) -> None:
    for name in ("X-PAYMENT", "PAYMENT-SIGNATURE"):
        answer = await place.http.get(place.door("/v2"), headers={name: "signed"})
        assert (answer.status_code, answer.content) == (402, b"pay me")
    assert place.books.asked == []


@pytest.mark.parametrize(
    ("status", "told"),
    [
        pytest.param(RequestStatus.UNDELIVERED, 502, id="paid, not delivered"),
        pytest.param(RequestStatus.UNRESOLVED, 504, id="perhaps paid"),
        pytest.param(RequestStatus.FAILED, 502, id="not paid, and no answer"),
    ],
)
async def test_what_may_be_paid_is_never_told_as_a_402(place: Place, status: RequestStatus, told: int) -> None:
    error = RequestError(type="why", message="why")
    place.books.answer = lambda ask: purchase(ask.id, status=status, content=None, error=error)
    answer = await place.http.get(place.door("/v2"), headers={"Idempotency-Key": "k1"})
    assert (answer.status_code, answer.json()["id"]) == (told, "k1")
    assert "payment-required" not in answer.headers
    place.books.error = Unreachable("Temporal is away")
    answer = await place.http.get(place.door("/v2"))
    assert (answer.status_code, "payment-required" in answer.headers) == (503, False)


async def test_with_a_key_what_was_paid_is_answered_though_the_seller_is_away(place: Place) -> None:
    key, away = {"Idempotency-Key": "k1"}, "/p/http/127.0.0.1:9/data"
    answer = await place.http.get(away, headers=key)
    assert (answer.status_code, answer.json()["rule"]) == (502, "seller_unavailable")
    place.books.known["default", "k1"] = purchase("k1")
    answer = await place.http.get(away, headers=key)
    assert (answer.status_code, answer.content) == (200, b'{"quotes": [1]}')
    assert (await place.http.get(away)).status_code == 502


async def test_with_a_key_nothing_is_asked_while_the_ledger_is_away(place: Place) -> None:
    place.books.error = Unreachable("the ledger is away", "ledger_unavailable")
    answer = await place.http.get(place.door("/free"), headers={"Idempotency-Key": "k1"})
    assert (answer.status_code, answer.json()["rule"], place.shop.seen) == (503, "ledger_unavailable", [])
    assert (await place.http.get(place.door("/free"))).status_code == 200


@pytest.mark.parametrize(
    ("to", "led"),
    [
        pytest.param("/free?a=1", "{door}/free?a=1", id="a path"),
        pytest.param("free", "{door}/free", id="a relative path"),
        pytest.param("{shop}/free", "{door}/free", id="the same origin"),
        pytest.param("https://other.example/x", "https://other.example/x", id="another origin leads there directly"),
        pytest.param("//other.example/x", "http://other.example/x", id="another origin without its scheme"),
        pytest.param("ftp://a.example/b", "ftp://a.example/b", id="no http"),
    ],
)
async def test_a_redirect_within_the_seller_leads_back_through_the_door(place: Place, to: str, led: str) -> None:
    answer = await place.http.get(place.door("/moved"), params={"to": to.format(shop=place.shop_url)})
    assert (answer.status_code, answer.headers["location"]) == (302, led.format(door=place.door("")))


@pytest.mark.parametrize(
    ("path", "status"),
    [
        pytest.param("/p/https/10.0.0.1/x", 403, id="a private address"),
        pytest.param("/p/https/169.254.169.254/latest/meta-data", 403, id="the cloud's metadata"),
        pytest.param("/p/https/[::ffff:10.0.0.1]/x", 403, id="an IPv4 address in IPv6"),
        pytest.param("/p/http/example.com/x", 403, id="without TLS"),
        pytest.param("/p/https/u:p@example.com/x", 403, id="with a password"),
        pytest.param("/p/https/example.com%2f@127.0.0.1/x", 403, id="a host that reads in two ways"),
        pytest.param("/p/https/exa%6dple.com/x", 502, id="an escaped host is not unescaped, and no name"),
        pytest.param("/p/https/rebound.example/x", 403, id="a name that means a private address"),
        pytest.param("/p/https/local.example/x", 403, id="a name that means this machine"),
        pytest.param("/p/ftp/example.com/x", 422, id="another scheme"),
        pytest.param("/p/https", 422, id="no host"),
        pytest.param("/p/https//x", 422, id="an empty host"),
        pytest.param("/p/https/example.com:99999/x", 403, id="no port"),
    ],
)
async def test_what_may_not_be_reached_is_not_asked(place: Place, path: str, status: int) -> None:
    answer = await place.http.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert place.books.asked == []


async def test_callers_elsewhere_get_at_nothing_on_this_machine() -> None:
    shop = Shop()
    async with served_shop(shop) as url, served(url, shop, reach=Reach(loopback=False)) as place:
        assert (await place.http.get(place.door("/free"))).status_code == 403
        for target in (f"{url}/free", url.replace("127.0.0.1", "localhost"), "https://[::1]/"):
            told = await place.http.post("/fetch", json={"url": target})
            assert (told.status_code, told.json()["rule"]) == (403, "address_not_allowed")
        assert (shop.seen, place.books.asked) == ([], [])
    named = Reach.of((), ["127.0.0.1"])
    async with served_shop(shop) as url, served(url, shop, reach=named) as place:
        assert (await place.http.get(place.door("/free"))).status_code == 200


async def test_a_mistyped_header_of_ours_is_refused_before_anybody_is_asked(place: Place) -> None:
    for headers in ({"Autopay-MaxPrice": "1"}, {"Autopay-Max-Price": "much"}, {"Idempotency-Key": ""}):
        answer = await place.http.get(place.door("/v2"), headers=headers)
        assert answer.status_code in (402, 422)
        assert answer.headers["content-type"] == "application/problem+json"
    assert place.books.asked == []


@pytest.mark.parametrize("status", [600, 999])
async def test_a_status_that_is_none_is_no_answer(status: int) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1")
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, served(url, Shop()) as place:
        told = await place.http.get(place.door("/x"))
    assert (told.status_code, told.json()["rule"]) == (502, "seller_unavailable")
    assert str(status) in told.json()["detail"]
