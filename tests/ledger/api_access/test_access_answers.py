"""What every answer of the API has, how often it answers, and how much it reads."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from autopay.adapters.postgres import PostgresLedger
from autopay.api.access.access import Access
from autopay.api.access.limits import Rates
from autopay.api.access.sites import AllowedHosts
from autopay.domain.audit.events import MismatchReason
from autopay.domain.errors import LedgerUnavailable
from tests.ledger.api_access.scene import (
    ALWAYS,
    HERE,
    JSON,
    PUBLIC,
    Served,
    bearer,
    served,
    token,
)
from tests.ledger.proofs import reasons, rows

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
    assert {name: answer.headers.get(name) for name in ALWAYS} == ALWAYS
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
        assert {name: answer.headers.get(name) for name in ALWAYS} == ALWAYS
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
