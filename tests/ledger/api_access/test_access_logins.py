"""What tokens and logins open, and what they do not."""

import asyncio

import pytest

from autopay.adapters.postgres import PostgresLedger
from autopay.api.access.routes import own_path
from tests.ledger.api_access.scene import (
    ELSEWHERE,
    HERE,
    PUBLIC,
    Served,
    bearer,
    logged_in,
    served,
    token,
)

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
