"""Who a gateway lets in: host names, web pages, tokens, and how many at once."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.unit.gateway_parts import Place, Shop, served, served_shop

TOKEN = "a-token-of-the-tests"
FETCH = {"url": "https://api.example.com/report"}


@pytest.fixture(scope="module")
async def both() -> AsyncIterator[tuple[Place, Place]]:
    """A gateway without a token, and one with."""
    shop = Shop()
    async with served_shop(shop) as url, served(url, shop) as one, served(url, shop, token=TOKEN) as other:
        yield one, other


@pytest.fixture
def place(both: tuple[Place, Place]) -> Place:
    return both[0].renewed()


@pytest.fixture
def guarded(both: tuple[Place, Place]) -> Place:
    return both[1].renewed()


@pytest.mark.parametrize(
    ("host", "status"),
    [
        pytest.param("127.0.0.1:8405", 200, id="its address"),
        pytest.param("localhost", 200, id="localhost"),
        pytest.param("[::1]:8405", 200, id="IPv6"),
        pytest.param("rebound.example:8405", 421, id="a name that was made to mean this machine"),
        pytest.param("127.0.0.1.example", 421, id="a name that begins like it"),
        pytest.param("", 421, id="no name"),
        pytest.param("[", 421, id="no host"),
    ],
)
async def test_it_answers_to_loopback_names_only(place: Place, host: str, status: int) -> None:
    answer = await place.http.post("/fetch", json=FETCH, headers={"Host": host})
    assert answer.status_code == status
    assert len(place.books.asked) == (status == 200)


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Origin": "https://evil.example"}, id="another page"),
        pytest.param({"Origin": "null"}, id="a page in a frame"),
        pytest.param({"Sec-Fetch-Site": "cross-site"}, id="a link or picture"),
        pytest.param({"Sec-Fetch-Site": "same-site"}, id="another port of this machine"),
        pytest.param({"Sec-Fetch-Site": "same-origin"}, id="a seller's page that came through the door"),
    ],
)
async def test_web_pages_are_refused_everywhere(place: Place, headers: dict[str, str]) -> None:
    for path in ("/fetch", place.door("/free"), "/pause"):
        assert (await place.http.post(path, json=FETCH, headers=headers)).status_code == 403
    asks = {**headers, "Access-Control-Request-Method": "POST"}
    preflight = await place.http.options("/fetch", headers=asks)
    assert (preflight.status_code, "access-control-allow-origin" in preflight.headers) == (403, False)
    assert (place.books.asked, place.books.calls, place.shop.seen) == ([], [], [])


@pytest.mark.parametrize(
    ("headers", "rule"),
    [
        pytest.param({}, "token_missing", id="none"),
        pytest.param({"Autopay-Token": "a-token-of-the-test"}, "token_wrong", id="its beginning"),
        pytest.param({"Authorization": "Bearer sk-seller"}, "token_wrong", id="the seller's"),
        pytest.param({"Authorization": f"Basic {TOKEN}"}, "token_missing", id="another scheme"),
        pytest.param({"Autopay-Token": ""}, "token_wrong", id="an empty one"),
    ],
)
async def test_without_its_token_nothing_is_done(guarded: Place, headers: dict[str, str], rule: str) -> None:
    for path in ("/fetch", guarded.door("/free"), "/pause", "/health"):
        answer = await guarded.http.post(path, json=FETCH, headers=headers)
        assert (answer.status_code, answer.json()["rule"]) == (401, rule)
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert (guarded.books.asked, guarded.books.calls, guarded.shop.seen) == ([], [], [])


@pytest.mark.parametrize(
    ("prefix", "headers", "authorization"),
    [
        pytest.param("", {"Autopay-Token": TOKEN}, None, id="our header"),
        pytest.param("", {"Authorization": f"Bearer {TOKEN}"}, None, id="as a bearer"),
        pytest.param(f"/t/{TOKEN}", {}, None, id="in the path"),
        pytest.param("", {"Autopay-Token": TOKEN, "Authorization": "Bearer sk"}, "Bearer sk", id="with the seller's"),
        pytest.param(f"/t/{TOKEN}", {"Authorization": "Bearer sk"}, "Bearer sk", id="in the path, with the seller's"),
        pytest.param(f"/t/{TOKEN}", {"Authorization": f"bearer {TOKEN}"}, None, id="twice"),
    ],
)
async def test_the_token_opens_and_is_never_sent_on(
    guarded: Place, prefix: str, headers: dict[str, str], authorization: str | None
) -> None:
    assert (await guarded.http.post(f"{prefix}/fetch", json=FETCH, headers=headers)).status_code == 200
    assert (await guarded.http.get(prefix + guarded.door("/free"), headers=headers)).status_code == 200
    [seen] = guarded.shop.seen
    assert seen.headers.get("authorization") == authorization
    assert TOKEN not in str(seen.headers) + str(seen.url)
    await guarded.http.get(prefix + guarded.door("/v2"), headers=headers)
    ask = guarded.books.asked[-1][1]
    assert ask.headers.get("authorization") == authorization
    assert TOKEN not in ask.model_dump_json()


async def test_a_redirect_keeps_the_token_of_the_path(guarded: Place) -> None:
    answer = await guarded.http.get(f"/t/{TOKEN}" + guarded.door("/moved"), params={"to": "/free"})
    assert answer.headers["location"] == f"/t/{TOKEN}" + guarded.door("/free")


async def test_more_at_once_than_it_takes_are_told_to_come_again() -> None:
    async with served("http://127.0.0.1:9", Shop(), most_at_once=2) as place:
        place.books.hold = asyncio.Event()
        under_way = [asyncio.create_task(place.http.post("/fetch", json=FETCH)) for _ in range(2)]
        await place.books.until(lambda: len(place.books.asked) == 2)
        told = await place.http.post("/fetch", json=FETCH)
        assert (told.status_code, told.json()["rule"], "retry-after" in told.headers) == (503, "gateway_busy", True)
        place.books.hold.set()
        assert [answer.status_code for answer in await asyncio.gather(*under_way)] == [200, 200]
        assert (await place.http.post("/fetch", json=FETCH)).status_code == 200


async def test_a_token_in_a_header_of_ours_is_not_led_to_another_origin(guarded: Place) -> None:
    asked = {"to": "https://other.example/x"}
    moved, token = guarded.door("/moved"), {"Autopay-Token": TOKEN}
    answer = await guarded.http.get(moved, params=asked, headers=token)
    assert (answer.status_code, answer.headers.get("location")) == (302, None)
    assert answer.headers["autopay-location"] == asked["to"]
    for path, headers in ((moved, {"Authorization": f"Bearer {TOKEN}"}), (f"/t/{TOKEN}{moved}", {})):
        assert (await guarded.http.get(path, params=asked, headers=headers)).headers["location"] == asked["to"]
    within = await guarded.http.get(moved, params={"to": "/free"}, headers=token)
    assert within.headers["location"] == guarded.door("/free")
