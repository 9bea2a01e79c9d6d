"""Under which names the API answers, and to whom on loopback without tokens."""

import httpx
import pytest

from autopay.adapters.postgres import PostgresLedger
from autopay.api.access.access import Access
from autopay.api.access.sites import AllowedHosts
from tests.ledger.api_access.scene import ELSEWHERE, HERE, JSON, PAGE, Served, bearer, csrf_of, served, token

# By which name


@pytest.mark.parametrize(
    ("host", "status"),
    [
        pytest.param("127.0.0.1:8406", 200, id="its address"),
        pytest.param("localhost:8406", 200, id="localhost"),
        pytest.param("[::1]:8406", 200, id="IPv6"),
        pytest.param("rebound.example:8406", 421, id="a name that was made to mean this machine"),
        pytest.param("127.0.0.1.example.com", 421, id="a name that begins like the address"),
        pytest.param("localhost.example.com", 421, id="a name that begins like localhost"),
        pytest.param("evil.example@127.0.0.1", 421, id="a user in front"),
        pytest.param("0.0.0.0:8406", 421, id="the address that browsers let pages of anywhere ask"),
        pytest.param("192.168.1.5:8406", 421, id="another address of this machine"),
        pytest.param("", 421, id="no name"),
        pytest.param("127.0.0.1:99999", 421, id="no port"),
        pytest.param("[", 421, id="no host"),
        pytest.param("127.0.0.1/x", 421, id="a path"),
    ],
)
async def test_on_loopback_it_answers_to_names_of_loopback_only(local: Served, host: str, status: int) -> None:
    async with local.browser() as browser:
        answer = await browser.get("/api/me", headers={"host": host})
    assert answer.status_code == status
    if status == 421:
        assert "--allow-host" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        pytest.param("autopay.example.com", 200, id="its name"),
        pytest.param("AUTOPAY.example.com:443", 200, id="its name in capitals, with a port"),
        pytest.param("10.1.2.3:8406", 200, id="an address, which no page elsewhere has"),
        pytest.param("other.example.com", 421, id="another name"),
    ],
)
async def test_elsewhere_it_answers_to_its_names_and_addresses(
    guarded: Served, books: PostgresLedger, host: str, status: int
) -> None:
    _, text = await token(books, "read")
    async with guarded.browser(address="10.9.9.9") as browser:
        answer = await browser.get("/api/me", headers={"host": host, **bearer(text)})
    assert answer.status_code == status


@pytest.mark.parametrize("text", ["https://a.example/path", "http://", "a b", "ftp://a.example", "https://u@a.example"])
def test_a_name_that_is_none_is_refused_at_the_start(text: str) -> None:
    with pytest.raises(ValueError, match="is no site"):
        AllowedHosts.of([text])


@pytest.mark.parametrize(
    ("listen", "allow", "wanted", "required"),
    [
        pytest.param("127.0.0.1", [], False, False, id="loopback"),
        pytest.param("::1", [], False, False, id="loopback over IPv6"),
        pytest.param("localhost", ["127.0.0.1"], False, False, id="loopback by two names"),
        pytest.param("127.0.0.1", [], True, True, id="loopback, and tokens wanted"),
        pytest.param("127.0.0.1", ["autopay.example.com"], False, True, id="loopback behind a proxy"),
        pytest.param("0.0.0.0", [], False, True, id="everywhere"),  # noqa: S104
        pytest.param("192.168.1.5", [], False, True, id="one network"),
    ],
)
def test_tokens_are_required_as_soon_as_another_machine_reaches_it(
    books: PostgresLedger, listen: str, allow: list[str], wanted: bool, required: bool
) -> None:
    assert Access.of(books, listen, allow, tokens_wanted=wanted).tokens_required is required


def test_no_server_without_tokens_answers_to_another_name(books: PostgresLedger) -> None:
    with pytest.raises(ValueError, match="needs tokens"):
        Access(books, AllowedHosts.of(["autopay.example.com"]), tokens_required=False)


# On loopback, without tokens


async def test_a_program_on_this_machine_reads_and_acts(local: Served) -> None:
    async with local.browser() as program:
        me = (await program.get("/api/me")).json()
        assert me == {"name": "local", "via": "local", "scopes": ["act", "read"]}
        assert (await program.post("/api/act", json={})).json() == {"by": "local"}
        assert (await program.post("/api/act", headers=JSON)).status_code == 200
    assert local.done == ["local", "local"]


_FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("headers", "status", "rule"),
    [
        pytest.param({"content-type": _FORM, "origin": ELSEWHERE}, 403, "cross_origin", id="a form of another site"),
        pytest.param({"content-type": "text/plain", "origin": ELSEWHERE}, 403, "cross_origin", id="a fetch as text"),
        pytest.param({**JSON, "origin": ELSEWHERE}, 403, "cross_origin", id="JSON, as if CORS had allowed it"),
        pytest.param({**JSON, "origin": "null"}, 403, "cross_origin", id="a page in a sandboxed frame"),
        pytest.param({**JSON, "origin": "http://127.0.0.1:9999"}, 403, "cross_origin", id="another port"),
        pytest.param({**JSON, "origin": "https://127.0.0.1:8406"}, 403, "cross_origin", id="another scheme"),
        pytest.param({**JSON, "origin": "http://localhost:8406"}, 403, "cross_origin", id="another name of loopback"),
        pytest.param({**JSON, "origin": HERE + "/"}, 403, "cross_origin", id="an origin with a path"),
        pytest.param({**JSON, "origin": HERE + ".evil.example"}, 403, "cross_origin", id="an origin that begins so"),
        pytest.param({**JSON, "sec-fetch-site": "cross-site"}, 403, "cross_origin", id="Sec-Fetch-Site alone"),
        pytest.param({**JSON, "sec-fetch-site": "same-site"}, 403, "cross_origin", id="another port's page"),
        pytest.param(
            {**JSON, "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"},
            403,
            "cross_origin",
            id="a form that navigates",
        ),
        pytest.param({**JSON, "sec-fetch-site": "none"}, 403, "cross_origin", id="an action that nobody's page asks"),
        pytest.param({**JSON, "cookie": "a=b"}, 403, "origin_missing", id="a browser that hides its origin"),
        pytest.param({**JSON, "referer": ELSEWHERE}, 403, "origin_missing", id="a browser with a referrer only"),
        pytest.param({**JSON, **PAGE}, 403, "csrf_token", id="its own page without the CSRF token"),
        pytest.param({**JSON, **PAGE, "x-csrf-token": "0" * 64}, 403, "csrf_token", id="another CSRF token"),
        pytest.param({**JSON, **PAGE, "x-csrf-token": "é"}, 403, "csrf_token", id="no CSRF token at all"),
        pytest.param({"content-type": _FORM}, 415, "json_needed", id="a form without a word of its origin"),
        pytest.param({"content-type": "text/plain; application/json"}, 415, "json_needed", id="almost JSON"),
        pytest.param({}, 415, "json_needed", id="no content type"),
        pytest.param({**JSON, "x-forwarded-for": "9.9.9.9"}, 401, "token_missing", id="through a proxy"),
        pytest.param({**JSON, "forwarded": "for=9.9.9.9"}, 401, "token_missing", id="through another proxy"),
        pytest.param({**JSON, "authorization": "Basic bG9jYWw6"}, 401, "token_wrong", id="another way to log in"),
        pytest.param({**JSON, "authorization": "Bearer x"}, 401, "token_wrong", id="a token that is none"),
    ],
)
async def test_no_page_of_another_site_acts_on_loopback(
    local: Served, headers: dict[str, str], status: int, rule: str
) -> None:
    sent = [(name.encode(), value.encode()) for name, value in headers.items()]
    async with local.browser() as browser:
        for path in ("/api/act", "/api/forgotten"):
            answer = await browser.post(path, content=b"{}", headers=sent)
            assert (answer.status_code, answer.json()["rule"]) == (status, rule)
            assert answer.headers["content-type"] == "application/problem+json"
    assert local.done == []


async def test_its_own_page_acts_by_header_and_by_form(local: Served) -> None:
    async with local.browser() as browser:
        csrf = csrf_of((await browser.get("/")).text)
        by_header = await browser.post("/api/act", json={}, headers={**PAGE, "x-csrf-token": csrf})
        by_form = await browser.post("/act", data={"what": "pause", "csrf_token": csrf}, headers=PAGE)
        twice = await browser.post(
            "/act", content=f"what=x&csrf_token={csrf}&csrf_token=1", headers={**PAGE, "content-type": _FORM}
        )
    assert (by_header.status_code, by_form.status_code, twice.status_code) == (200, 200, 403)
    assert local.done == ["local", "local pause"]


async def test_another_machine_is_never_local(books: PostgresLedger) -> None:
    async with served(books).browser(address="10.0.0.7") as browser:
        assert (await browser.get("/api/me")).status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({"sec-fetch-site": "none", "sec-fetch-mode": "navigate"}, 200, id="a person types the address"),
        pytest.param(
            {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"},
            200,
            id="a person follows a link",
        ),
        pytest.param(
            {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
            403,
            id="a frame of another site",
        ),
        pytest.param({"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, 403, id="a picture"),
        pytest.param({"sec-fetch-site": "same-site", "sec-fetch-mode": "cors"}, 403, id="a fetch of another port"),
        pytest.param({"origin": ELSEWHERE}, 403, id="a fetch of another site"),
    ],
)
async def test_reads_from_another_site_are_links_only(local: Served, headers: dict[str, str], status: int) -> None:
    async with local.browser() as browser:
        assert (await browser.get("/", headers=headers)).status_code == status


@pytest.mark.parametrize("name", ["host", "origin", "authorization", "sec-fetch-site", "x-csrf-token", "content-type"])
async def test_a_header_that_decides_must_not_be_there_twice(local: Served, name: str) -> None:
    async with local.browser() as browser:
        headers = [(name, "127.0.0.1:8406"), (name, "127.0.0.1:8406")]
        request = httpx.Request("POST", f"{HERE}/api/act", headers=headers, json={})
        if name == "host":
            request = httpx.Request("POST", f"{HERE}/api/act", headers=[*headers, ("content-type", "text/json")])
        assert (await browser.send(request)).status_code == 400
    assert local.done == []
