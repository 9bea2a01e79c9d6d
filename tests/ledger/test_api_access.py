"""Who the API lets in, as an attacker tries it: over HTTP, with tokens in a real ledger."""

import asyncio
import html
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Form, Request
from fastapi.responses import HTMLResponse, StreamingResponse

from autopay.adapters.postgres import PostgresLedger, open_ledger
from autopay.api.access.access import Access
from autopay.api.access.gate import AccessGate
from autopay.api.access.limits import Rates
from autopay.api.access.routes import Operator, Reader, login_router, own_path, tell_denials
from autopay.api.access.sites import AllowedHosts
from autopay.domain.audit.events import MismatchReason
from autopay.domain.errors import LedgerUnavailable
from tests.databases import Databases
from tests.ledger.proofs import reasons, rows

HERE = "http://127.0.0.1:8406"
PUBLIC = "https://autopay.example.com"
JSON = {"content-type": "application/json"}
PAGE = {"origin": HERE, "sec-fetch-site": "same-origin"}
DAY_S = 86_400

_ALWAYS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


@dataclass
class Served:
    """A guarded application, and what was done by it."""

    access: Access
    done: list[str]
    gate: AccessGate

    def browser(self, site: str = HERE, address: str = "127.0.0.1") -> httpx.AsyncClient:
        """A client at that address, which keeps cookies."""
        transport = httpx.ASGITransport(self.gate, raise_app_exceptions=False, client=(address, 50_000))
        return httpx.AsyncClient(transport=transport, base_url=site)


def application(access: Access, done: list[str]) -> FastAPI:
    """Something to read, something to do, something that streams, and something that fails."""
    app = FastAPI()

    @app.get("/")
    async def page(request: Request) -> HTMLResponse:
        return HTMLResponse(f"<p nonce={request.state.nonce} data-csrf={html.escape(request.state.csrf_token)}>")

    @app.get("/api/me")
    async def me(reader: Reader) -> dict[str, Any]:
        return {"name": reader.name, "via": reader.via, "scopes": sorted(reader.scopes)}

    @app.post("/api/act")
    async def act(request: Request, actor: Operator) -> dict[str, str]:
        await request.body()
        done.append(actor.name)
        return {"by": actor.name}

    @app.post("/act")
    async def act_by_form(actor: Operator, what: str = Form()) -> dict[str, str]:
        done.append(f"{actor.name} {what}")
        return {"by": actor.name}

    @app.post("/api/forgotten")
    async def forgotten() -> None:  # a route whose author forgot to ask who calls
        done.append("forgotten")

    @app.get("/api/fails")
    async def fails() -> None:
        raise ZeroDivisionError

    @app.get("/api/stream")
    async def stream() -> StreamingResponse:
        async def forever() -> AsyncIterator[str]:
            while True:
                yield "data: x\n\n"
                await asyncio.sleep(0.02)

        return StreamingResponse(forever(), media_type="text/event-stream")

    @app.get("/static/page.css")
    async def style() -> HTMLResponse:
        return HTMLResponse("p{}", headers={"cache-control": "max-age=9"}, media_type="text/css")

    app.include_router(login_router(access))
    tell_denials(app)
    return app


def served(ledger: PostgresLedger, *, recheck_s: float = 15, **how: Any) -> Served:
    """An application behind its guard."""
    rates = how.pop("rates", Rates())
    access = Access(
        ledger,
        AllowedHosts.of(how.pop("allow_hosts", ()), any_address=how.pop("any_address", False)),
        tokens_required=how.pop("tokens_required", False),
        rates=rates,
    )
    done: list[str] = []
    app = application(access, done)
    return Served(access, done, AccessGate(app, access.hosts, access.callers, access.limits, recheck_s=recheck_s))


@pytest.fixture(scope="module")
async def books(databases: Databases) -> AsyncIterator[PostgresLedger]:
    """One ledger for this file: each test makes its own tokens."""
    name = databases.take()
    ledger = open_ledger(databases._postgres.url(name))
    yield ledger
    await ledger.dispose()
    databases.give_back(name)


@pytest.fixture
def local(books: PostgresLedger) -> Served:
    """As on loopback without tokens."""
    return served(books)


@pytest.fixture
def guarded(books: PostgresLedger) -> Served:
    """As it listens elsewhere, behind a proxy that ends TLS."""
    return served(books, tokens_required=True, allow_hosts=[PUBLIC], any_address=True)


_NAMES = iter(range(1_000_000))


async def token(books: PostgresLedger, *scopes: str) -> tuple[str, str]:
    """The name and the text of a new token."""
    name = f"t{next(_NAMES)}"
    _, text = await books.tokens.make(name, scopes or ("read", "act"), DAY_S)
    return name, text


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


@asynccontextmanager
async def logged_in(
    guarded: Served, books: PostgresLedger, *scopes: str
) -> AsyncIterator[tuple[httpx.AsyncClient, str]]:
    """A browser that has logged in, and the CSRF token of its page."""
    _, text = await token(books, *scopes)
    async with guarded.browser(PUBLIC) as browser:
        answer = await browser.post("/login", data={"token": text, "next": "/"}, headers={"origin": PUBLIC})
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        yield browser, csrf_of((await browser.get("/")).text)


def csrf_of(page: str) -> str:
    return page.partition("data-csrf=")[2].partition(">")[0]


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
ELSEWHERE = "https://evil.example"


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


# With tokens


async def test_a_token_reads_and_acts_as_its_scopes_say(guarded: Served, books: PostgresLedger) -> None:
    reader, reads = await token(books, "read")
    _, acts = await token(books, "act")
    both, all_of_it = await token(books, "read", "act")
    async with guarded.browser(PUBLIC, "10.0.0.7") as program:
        assert (await program.get("/api/me", headers=bearer(reads))).json()["name"] == reader
        for path in ("/api/act", "/api/forgotten"):
            refused = await program.post(path, headers=bearer(reads))
            assert (refused.status_code, refused.json()["rule"]) == (403, "scope_missing")
        assert (await program.get("/api/me", headers=bearer(acts))).status_code == 403
        done = await program.post("/api/act", headers={**bearer(all_of_it), "content-type": "text/plain"})
        assert done.json() == {"by": both}, "no page can send a token, so that nothing more is asked"
    assert guarded.done == [both]


@pytest.mark.parametrize("path", ["/api/me", "/api/fails", "/api/stream", "/nothing", "/api/openapi.json"])
async def test_without_a_token_nothing_is_told(guarded: Served, path: str) -> None:
    async with guarded.browser(PUBLIC) as program:
        answer = await program.get(path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.json()["rule"] == "token_missing"


async def test_a_person_without_a_token_is_led_to_the_login(guarded: Served) -> None:
    async with guarded.browser(PUBLIC) as browser:
        answer = await browser.get("/agents", headers={"accept": "text/html"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=/agents")
        assert (await browser.get("/static/page.css")).status_code == 200
        assert (await browser.get("/static/../api/me")).status_code in (401, 404)


async def test_a_revoked_an_expired_and_a_changed_token_open_nothing(guarded: Served, books: PostgresLedger) -> None:
    name, revoked = await token(books)
    await books.tokens.revoke(name)
    _, good = await token(books)
    changed = good[:-1] + ("0" if good[-1] != "0" else "1")
    async with guarded.browser(PUBLIC) as program:
        for text in (revoked, changed, good.upper(), good[:-1], ""):
            answer = await program.get("/api/me", headers=bearer(text))
            assert (answer.status_code, answer.json()["rule"]) == (401, "token_wrong")
        assert (await program.get("/api/me", headers=bearer(good))).status_code == 200


async def test_a_token_is_never_taken_from_the_address(guarded: Served, books: PostgresLedger) -> None:
    _, text = await token(books)
    async with guarded.browser(PUBLIC) as program:
        assert (await program.get(f"/api/me?token={text}&access_token={text}")).status_code == 401


# The login


async def test_a_login_gives_a_cookie_that_only_this_site_sends(guarded: Served, books: PostgresLedger) -> None:
    name, text = await token(books)
    async with guarded.browser(PUBLIC) as browser:
        answer = await browser.post("/login", data={"token": f" {text} "}, headers={"origin": PUBLIC})
        cookie = answer.headers["set-cookie"]
        value = cookie.partition("=")[2].partition(";")[0]
        flags = {each.strip().lower() for each in cookie.split(";")[1:]}
        assert cookie.startswith("__Host-autopay=autopay_web_")
        assert {"httponly", "samesite=strict", "secure", "path=/"} <= flags
        assert not any(flag.startswith("domain") for flag in flags)
        assert text not in cookie
        me = await browser.get("/api/me")
        assert me.json() == {"name": name, "via": "page", "scopes": ["act", "read"]}
        assert value not in me.text
    actions = await books.operator_actions.newest(limit=1)
    assert [(each.actor, each.via, each.action, each.outcome) for each in actions] == [(name, "page", "login", "done")]


async def test_without_tls_the_cookie_is_not_marked_secure_and_is_of_its_port(books: PostgresLedger) -> None:
    place = served(books, tokens_required=True)
    _, text = await token(books)
    async with place.browser() as browser:
        answer = await browser.post("/login", data={"token": text}, headers={"origin": HERE})
        assert answer.headers["set-cookie"].startswith("autopay_8406=")
        assert "secure" not in answer.headers["set-cookie"].lower()
        assert (await browser.get("/api/me")).status_code == 200


@pytest.mark.parametrize(
    ("headers", "rule"),
    [
        pytest.param({}, "origin_missing", id="no origin"),
        pytest.param({"origin": ELSEWHERE}, "cross_origin", id="another site logs somebody in as itself"),
        pytest.param({"origin": "http://autopay.example.com"}, "cross_origin", id="the site without TLS"),
    ],
)
async def test_only_its_own_page_logs_in(
    guarded: Served, books: PostgresLedger, headers: dict[str, str], rule: str
) -> None:
    _, text = await token(books)
    async with guarded.browser(PUBLIC) as browser:
        answer = await browser.post("/login", data={"token": text}, headers=headers)
    assert (answer.status_code, answer.json()["rule"]) == (403, rule)
    assert "set-cookie" not in answer.headers


async def test_a_logged_in_page_acts_with_its_own_csrf_token_only(guarded: Served, books: PostgresLedger) -> None:
    ours = {"origin": PUBLIC, "sec-fetch-site": "same-origin"}
    async with logged_in(guarded, books) as (browser, csrf), logged_in(guarded, books) as (_, others):
        for headers, status in (
            (ours, 403),
            ({**ours, "x-csrf-token": others}, 403),
            ({"x-csrf-token": csrf}, 403),
            ({**ours, "origin": ELSEWHERE, "x-csrf-token": csrf}, 403),
            ({**ours, "x-csrf-token": csrf}, 200),
        ):
            assert (await browser.post("/api/act", json={}, headers=headers)).status_code == status
    assert len(guarded.done) == 1


async def test_a_page_of_a_reader_cannot_act_with_any_csrf_token(guarded: Served, books: PostgresLedger) -> None:
    async with logged_in(guarded, books, "read") as (browser, csrf):
        answer = await browser.post("/api/act", json={}, headers={"origin": PUBLIC, "x-csrf-token": csrf})
        assert (answer.status_code, answer.json()["rule"]) == (403, "scope_missing")


async def test_a_logout_ends_the_cookie_itself(guarded: Served, books: PostgresLedger) -> None:
    async with logged_in(guarded, books, "read") as (browser, csrf):
        copied = dict(browser.cookies)
        forged = await browser.post("/logout", headers={"origin": PUBLIC})
        assert forged.status_code == 403
        answer = await browser.post("/logout", headers={"origin": PUBLIC, "x-csrf-token": csrf})
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
        assert not browser.cookies
        kept = "; ".join(f"{name}={value}" for name, value in copied.items())
        assert (await browser.get("/api/me", headers={"cookie": kept})).status_code == 401


async def test_a_second_login_ends_the_first(guarded: Served, books: PostgresLedger) -> None:
    async with logged_in(guarded, books) as (browser, _):
        first = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        _, text = await token(books)
        await browser.post("/login", data={"token": text}, headers={"origin": PUBLIC})
        async with guarded.browser(PUBLIC) as another:
            assert (await another.get("/api/me", headers={"cookie": first})).status_code == 401


async def test_a_revoked_token_ends_its_logins_and_what_they_stream(books: PostgresLedger) -> None:
    place = served(books, tokens_required=True, recheck_s=0.05)
    name, text = await token(books)
    async with place.browser() as browser:
        await browser.post("/login", data={"token": text}, headers={"origin": HERE})
        streaming = asyncio.ensure_future(browser.get("/api/stream"))
        await asyncio.sleep(0.2)
        assert not streaming.done()
        await books.tokens.revoke(name)
        assert (await asyncio.wait_for(streaming, 10)).text.endswith("data: x\n\n")
        assert (await browser.get("/api/me")).status_code == 401


async def test_two_cookies_of_one_name_are_none(guarded: Served, books: PostgresLedger) -> None:
    async with logged_in(guarded, books) as (browser, _):
        (pair,) = (f"{name}={value}" for name, value in browser.cookies.items())
        browser.cookies.clear()
        assert (await browser.get("/api/me", headers={"cookie": pair})).status_code == 200
        assert (await browser.get("/api/me", headers={"cookie": f"{pair}; {pair}"})).status_code == 401


@pytest.mark.parametrize(
    ("text", "path"),
    [
        pytest.param("/agents?x=1", "/agents?x=1", id="a path"),
        pytest.param("//evil.example", "/", id="another host"),
        pytest.param("/\\evil.example", "/", id="another host, with a backslash"),
        pytest.param("/a\\..\\b", "/", id="a backslash"),
        pytest.param("https://evil.example", "/", id="an address"),
        pytest.param("javascript:alert(1)", "/", id="a script"),
        pytest.param("/x\r\nset-cookie: a=b", "/", id="a second header"),
        pytest.param("/\t/evil.example", "/", id="a tab, which browsers leave out"),
        pytest.param("", "/", id="nothing"),
    ],
)
def test_after_the_login_it_goes_on_within_the_site(text: str, path: str) -> None:
    assert own_path(text) == path


# Every answer, and how often


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        pytest.param("GET", "/", 200, id="a page"),
        pytest.param("GET", "/api/me", 200, id="the API"),
        pytest.param("GET", "/nothing", 404, id="nothing there"),
        pytest.param("GET", "/api/fails", 500, id="a bug"),
        pytest.param("PUT", "/api/me", 405, id="another method"),
        pytest.param("POST", "/api/act", 415, id="what is refused"),
        pytest.param("GET", "/static/page.css", 200, id="a file"),
    ],
)
async def test_every_answer_has_the_headers(local: Served, method: str, path: str, status: int) -> None:
    async with local.browser() as browser:
        headers = {} if method == "POST" else JSON
        answer = await browser.request(method, path, headers=headers)
        again = await browser.request(method, path, headers=headers)
    assert answer.status_code == status
    assert {name: answer.headers.get(name) for name in _ALWAYS} == _ALWAYS
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["cache-control"] == ("max-age=9" if path.startswith("/static") else "no-store")
    assert "permissions-policy" in answer.headers
    if path == "/":
        nonce = answer.text.partition("nonce=")[2].partition(" ")[0]
        assert f"script-src 'nonce-{nonce}'" in policy
        assert "require-trusted-types-for 'script'" in policy
        assert policy != again.headers["content-security-policy"], "each answer has a nonce of its own"


async def test_over_tls_browsers_are_told_to_stay_there(guarded: Served) -> None:
    async with guarded.browser(PUBLIC) as browser:
        assert "max-age" in (await browser.get("/api/me")).headers["strict-transport-security"]
    async with guarded.browser(HERE) as browser:
        assert "strict-transport-security" not in (await browser.get("/api/me")).headers


async def test_who_asks_too_often_is_told_when_to_ask_again(books: PostgresLedger) -> None:
    place = served(books, tokens_required=True, rates=Rates(calls="3/minute", actions="1/minute"))
    _, one = await token(books)
    _, other = await token(books)
    async with place.browser() as program:
        codes = [(await program.get("/api/me", headers=bearer(one))).status_code for _ in range(4)]
        assert codes == [200, 200, 200, 429]
        answer = await program.get("/api/me", headers=bearer(one))
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert answer.json()["rule"] == "too_many"
        assert {name: answer.headers.get(name) for name in _ALWAYS} == _ALWAYS
        acted = [(await program.post("/api/act", headers=bearer(other))).status_code for _ in range(2)]
        assert acted == [200, 429], "another caller has its own count, and acts more rarely than it reads"


async def test_wrong_tokens_are_limited_harder_and_by_address(books: PostgresLedger) -> None:
    place = served(books, tokens_required=True, rates=Rates(failures="2/minute"))
    _, good = await token(books)
    async with place.browser() as attacker, place.browser(address="127.0.0.2") as other:
        await attacker.get("/api/me", headers=bearer("x"))
        await attacker.post("/login", data={"token": "x"}, headers={"origin": HERE})
        for answer in (
            await attacker.get("/api/me", headers=bearer("x")),
            await attacker.post("/login", data={"token": "x"}, headers={"origin": HERE}),
            await attacker.post("/login", data={"token": good}, headers={"origin": HERE}),
        ):
            assert (answer.status_code, answer.json()["rule"]) == (429, "too_many")
            assert "set-cookie" not in answer.headers
        assert (await other.get("/api/me", headers=bearer(good))).status_code == 200


async def test_wrong_tokens_do_not_shut_out_who_showed_a_right_one_from_the_same_proxy(books: PostgresLedger) -> None:
    place = served(books, tokens_required=True, rates=Rates(failures="2/minute"))
    name, good = await token(books)
    async with place.browser() as program:
        assert (await program.get("/api/me", headers=bearer(good))).status_code == 200
        codes = [(await program.get("/api/me", headers=bearer("x"))).status_code for _ in range(3)]
        assert codes == [401, 401, 429]
        assert (await program.get("/api/me", headers=bearer(good))).status_code == 200
        await books.tokens.revoke(name)
        codes = [(await program.get("/api/me", headers=bearer(good))).status_code for _ in range(2)]
        assert codes == [401, 429], "it was right once, and is not any more"


async def test_of_somebody_unknown_no_more_is_read_than_a_login(guarded: Served) -> None:
    async with guarded.browser(PUBLIC) as stranger:
        headers = {"origin": PUBLIC}
        answer = await stranger.post("/login", data={"token": "x" * 20_000}, headers=headers)
        assert (answer.status_code, answer.json()["rule"]) == (413, "too_large")
        answer = await stranger.post("/login", data={"token": "x" * 100, "next": "/" * 2_000}, headers=headers)
        assert answer.status_code == 401


@pytest.mark.parametrize(("version", "is_let_in"), [("1.0", False), ("1.1", True)])
async def test_a_proxy_that_adds_no_header_is_known_by_its_old_http(
    local: Served, version: str, is_let_in: bool
) -> None:
    async def as_spoken(scope: Any, receive: Any, send: Any) -> None:
        await local.gate({**scope, "http_version": version}, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(as_spoken), base_url=HERE) as program:
        answer = await program.post("/api/act", headers=JSON, content=b"{}")
    assert answer.status_code == (200 if is_let_in else 401)
    assert bool(local.done) is is_let_in


async def test_a_network_of_addresses_guesses_no_more_than_one_address(books: PostgresLedger) -> None:
    place = served(books, tokens_required=True, any_address=True, rates=Rates(failures="1/minute"))
    codes = []
    for address in ("2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1"):
        async with place.browser(address=address) as attacker:
            codes.append((await attacker.get("/api/me", headers=bearer("x"))).status_code)
    assert codes == [401, 429, 401]


async def test_a_public_page_tells_nobody_the_csrf_token_of_loopback(books: PostgresLedger) -> None:
    secret = b"of both servers, as they have one keyring"
    public = Access(books, AllowedHosts.of([PUBLIC]), tokens_required=True, secret=secret)
    local = Access(books, AllowedHosts(), tokens_required=False, secret=secret)
    told: dict[str, str] = {}

    async def app(scope: Any, _: Any, send: Any) -> None:
        told[scope["path"]] = scope["state"]["csrf_token"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    for access, site, path in ((public, PUBLIC, "/login"), (local, HERE, "/")):
        transport = httpx.ASGITransport(access.gate(app))
        async with httpx.AsyncClient(transport=transport, base_url=site) as browser:
            assert (await browser.get(path)).status_code == 200
    assert told["/login"] == ""
    assert len(told["/"]) == 64


async def test_one_caller_cannot_take_every_place(books: PostgresLedger) -> None:
    place = served(books, tokens_required=True, rates=Rates(at_once=3, at_once_of_one=2))
    _, one = await token(books)
    _, other = await token(books)
    async with place.browser() as program:
        streams = [asyncio.ensure_future(program.get("/api/stream", headers=bearer(one))) for _ in range(2)]
        await asyncio.sleep(0.2)
        assert (await program.get("/api/me", headers=bearer(one))).status_code == 503
        assert (await program.get("/api/me", headers=bearer(other))).status_code == 200
        for stream in streams:
            stream.cancel()
        await asyncio.gather(*streams, return_exceptions=True)
        assert (await program.get("/api/me", headers=bearer(one))).status_code == 200


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "in chunks without a length"])
async def test_a_body_that_is_too_large_is_not_read_to_its_end(local: Served, announced: bool) -> None:
    sent = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += 1
            yield b" " * 100_000

    headers = {**JSON, **({"content-length": "10000000"} if announced else {"transfer-encoding": "chunked"})}
    async with local.browser() as program:
        answer = await program.post("/api/act", content=chunks(), headers=headers)
    assert (answer.status_code, answer.json()["rule"]) == (413, "too_large")
    assert sent <= 12
    assert local.done == []


async def test_without_its_ledger_nobody_is_let_in(guarded: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(*_: object) -> None:
        raise LedgerUnavailable("gone")

    monkeypatch.setattr(guarded.access.ledger.tokens, "find", silent)
    async with guarded.browser(PUBLIC) as program:
        answer = await program.get("/api/me", headers=bearer("x"))
    assert (answer.status_code, answer.json()["rule"]) == (503, "ledger_unavailable")


async def test_a_web_socket_is_closed(local: Served) -> None:
    said: list[Any] = []

    async def send(message: Any) -> None:
        said.append(message)

    await local.gate({"type": "websocket", "headers": []}, None, send)  # type: ignore[arg-type]
    assert said == [{"type": "websocket.close", "code": 1008}]


async def test_all_of_it_left_a_ledger_that_proves_itself(books: PostgresLedger, postgres: Any) -> None:
    url = books.database.engine.url.render_as_string(hide_password=False).replace("+psycopg", "")
    assert await reasons(url) - {MismatchReason.TRIGGER_MISSING} == set()
    assert rows(url, "SELECT count(*) FROM operator_actions WHERE action = 'login' AND outcome <> 'done'") == [(0,)]
