"""What is refused before a chain is asked: wrong values, wrong callers, and sessions that are not there."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from spl.token.instructions import get_associated_token_address

from autopay.adapters.postgres import PostgresLedger
from autopay.adapters.postgres.maintenance.roles import Role, apply_rights, make_roles
from autopay.adapters.postgres.maintenance.server import Server
from autopay.api.app import create_app
from autopay.api.services import Services, open_services
from autopay.settings import Settings
from localnet.postgres.server import EmbeddedPostgres
from tests.ledger.books import Book

WALLET = str(Keypair().pubkey())
NEW: dict[str, Any] = {"agent": "buyer", "owner": WALLET, "allowance": "1"}
OFF_CURVE = "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU"


@pytest.fixture
async def guarded(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    """A program on this machine, in front of the guard."""
    transport = httpx.ASGITransport(services.access.gate(create_app(services)), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        yield client


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        pytest.param({"agent": "a/b"}, "invalid_arguments", id="no agent's name"),
        pytest.param({"owner": "abc"}, "invalid_arguments", id="no address"),
        pytest.param({"owner": "1" * 44}, "wrong_argument", id="too long an address"),
        pytest.param({"allowance": "0"}, "wrong_argument", id="nothing"),
        pytest.param({"allowance": "-1"}, "wrong_argument", id="less than nothing"),
        pytest.param({"allowance": "1e999999999"}, "wrong_argument", id="endless"),
        pytest.param({"allowance": "1\u0000"}, "wrong_argument", id="NUL"),
        pytest.param({"currency": "DOGE"}, "invalid_arguments", id="another currency"),
        pytest.param({"currency": "CASH"}, "no_mint", id="a currency without a mint"),
        pytest.param({"tx_limit": 0}, "invalid_arguments", id="no payments"),
        pytest.param({"tx_limit": 10**9}, "invalid_arguments", id="too many payments"),
        pytest.param({"duration": "soon"}, "wrong_argument", id="no duration"),
        pytest.param({"duration": "367d"}, "wrong_argument", id="longer than a year"),
        pytest.param({"hosts": ["http://a.test"]}, "wrong_argument", id="no host"),
        pytest.param({"hosts": ["a.test"] * 51}, "invalid_arguments", id="too many hosts"),
        pytest.param({"delegate": WALLET}, "invalid_arguments", id="an unknown field"),
        pytest.param({"session_id": str(uuid4())}, "invalid_arguments", id="an id of one's own"),
    ],
)
async def test_a_grant_that_cannot_be_is_refused_by_name(
    guarded: httpx.AsyncClient, book: Book, change: dict[str, Any], rule: str
) -> None:
    answer = await guarded.post("/api/sessions/grants", json=NEW | change)
    assert (answer.status_code, answer.json()["rule"]) == (422, rule)
    assert len(await book.ledger.sessions.list()) == 1, "that of the book"


async def test_an_address_that_nobody_can_sign_for_is_refused(guarded: httpx.AsyncClient, book: Book) -> None:
    program_address = get_associated_token_address(Pubkey.from_string(WALLET), Pubkey.from_string(OFF_CURVE))
    answer = await guarded.post("/api/sessions/grants", json=NEW | {"owner": str(program_address)})
    assert "nobody can sign for it" in answer.json()["detail"]


async def test_without_a_chain_nothing_is_granted_and_the_order_is_recorded(
    guarded: httpx.AsyncClient, ledger: PostgresLedger, book: Book
) -> None:
    answer = await guarded.post("/api/sessions/grants", json=NEW)
    assert (answer.status_code, answer.json()["rule"]) == (503, "chain_unavailable")
    assert len(await ledger.sessions.list()) == 1
    order = (await ledger.operator_actions.newest(limit=1))[0]
    assert (order.action, order.actor, order.outcome) == ("grant", "local", "failed")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/sessions/grants/{id}/transaction", {}),
        ("/api/sessions/grants/{id}/signed", {"transaction": "AAAA"}),
        ("/api/sessions/revokes", {"session_id": "{id}"}),
        ("/api/sessions/revokes/{id}/signed", {}),
    ],
)
async def test_a_session_that_is_not_there_is_not_found(
    guarded: httpx.AsyncClient, path: str, body: dict[str, str]
) -> None:
    session = str(uuid4())
    sent = {name: value.format(id=session) for name, value in body.items()}
    answer = await guarded.post(path.format(id=session), json=sent)
    assert (answer.status_code, answer.json()["rule"]) == (404, "unknown_session")


async def test_a_session_that_nobody_revoked_is_not_told_to_be(guarded: httpx.AsyncClient, book: Book) -> None:
    (session,) = await book.ledger.sessions.list()
    answer = await guarded.post(f"/api/sessions/revokes/{session.session_id}/signed", json={})
    assert (answer.status_code, answer.json()["rule"]) == (409, "not_waiting")


async def test_a_token_that_may_only_read_delegates_nothing(
    guarded: httpx.AsyncClient, ledger: PostgresLedger, book: Book
) -> None:
    made = await ledger.tokens.make("watcher", ["read"], 3_600)
    session = (await ledger.sessions.list())[0]
    answer = await guarded.post(
        "/api/sessions/revokes",
        json={"session_id": str(session.session_id)},
        headers={"Authorization": f"Bearer {made[1]}"},
    )
    assert (answer.status_code, answer.json()["rule"]) == (403, "scope_missing")
    assert (await ledger.sessions.list())[0].status == "ACTIVE"


async def test_another_sites_page_delegates_nothing(guarded: httpx.AsyncClient, book: Book) -> None:
    answer = await guarded.post("/api/sessions/grants", json=NEW, headers={"Origin": "https://evil.test"})
    assert (answer.status_code, answer.json()["rule"]) == (403, "cross_origin")


async def test_a_server_whose_role_may_not_make_sessions_says_so_before_anything_is_filled_in(
    guarded: httpx.AsyncClient, settings: Settings, book: Book, database_url: str, postgres: EmbeddedPostgres
) -> None:
    assert "This server cannot delegate" not in (await guarded.get("/delegate")).text
    server = Server(database_url)
    make_roles(server, {})
    apply_rights(server)
    as_worker = settings.model_copy(update={"database_url": postgres.url(server.name, Role.WORK)})
    async with open_services(as_worker) as services:
        transport = httpx.ASGITransport(services.access.gate(create_app(services)))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            for path in ("/delegate", f"/delegate/{book.session_id}"):
                page = (await client.get(path)).text
                assert "This server cannot delegate" in page
                assert "autopay_migrate" in page
