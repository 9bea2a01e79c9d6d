"""Balances, sums, sessions, sellers and the audit trail."""

import httpx
import pytest
from sqlalchemy import text

from autopay.adapters.postgres.maintenance.roles import Role, apply_rights, make_roles
from autopay.adapters.postgres.maintenance.server import Server
from autopay.api.app import create_app
from autopay.api.services import Services, open_services
from autopay.domain.errors import LedgerForbids, LedgerUnavailable
from autopay.domain.money import Currency
from autopay.domain.payment.payment import Content
from autopay.domain.request import RequestStatus
from autopay.settings import Settings
from localnet.postgres.server import EmbeddedPostgres
from tests.ledger.books import Book, open_book
from tests.ledger.proofs import Tamperer

LISTS = (
    "agents",
    "agents/buyer",
    "transactions",
    "requests",
    "requests/one",
    "requests/one/content",
    "requests/two",
    "balances",
    "audit",
    "spend?by=seller",
    "disputes",
    "approvals",
    "approvals?all=true",
    "sessions",
    "sellers",
    "ledger",
    "transactions?agent=buyer&status=PENDING&min=0.001",
    "requests?agent=buyer&status=waiting&status=unresolved&min=0.001",
    "balances?agent=buyer&every=1h",
)

PAGES = ("/", "/agents", "/agents/buyer", "/payments", "/approvals", "/disputes", "/sessions", "/sellers", "/spend")


async def bought(book: Book, request_id: str) -> None:
    """A request that was paid and delivered."""
    key = await book.accepted(request_id)
    attempt = await book.recorded(key)
    await book.answered(attempt, Content(http_status=200))
    await book.settled(attempt)
    await book.end(key, RequestStatus.DELIVERED)


async def test_an_agent_is_told_by_the_ledger_when_it_does_not_answer(api: httpx.AsyncClient, book: Book) -> None:
    await bought(book, "one")
    await book.accepted("two")
    found = (await api.get("/api/agents/buyer")).json()
    assert (found["state"], found["payments"], found["delivered"]) == ("unknown", 1, 1)
    assert found["in_flight"] == ["two"]
    assert [each["state"] for each in found["sessions"]] == ["ACTIVE"]
    assert "Temporal" in found["problem"]
    assert (await api.get("/api/agents/nobody")).json()["rule"] == "unknown_agent"
    assert (await api.get("/api/agents/a%20b")).status_code == 422


async def test_sums_are_by_what_is_asked_for(api: httpx.AsyncClient, book: Book) -> None:
    other = await open_book(book.ledger, "other")
    await bought(book, "one")
    await bought(other, "one")
    [everything] = (await api.get("/api/spend")).json()["items"]
    assert (everything["key"], everything["final"]["amount"], everything["final_payments"]) == (None, "0.002", 2)
    for by, keys in (("agent", ["buyer", "other"]), ("seller", ["market.test"]), ("endpoint", ["/api/market-feed"])):
        items = (await api.get("/api/spend", params={"by": by})).json()["items"]
        assert [each["key"] for each in items] == keys
    assert (await api.get("/api/spend", params={"by": "weather"})).status_code == 422


async def test_sums_come_in_pages_ordered_by_what_they_are_of(
    api: httpx.AsyncClient, book: Book, database_url: str
) -> None:
    for name in ("one", "two", "three"):
        await bought(book, name)
    hosts = "CASE attempt_host.n WHEN 1 THEN 'a.test:443' WHEN 2 THEN 'b.test:443' END"
    numbered = "(SELECT id, row_number() OVER (ORDER BY created_at) AS n FROM transactions) AS attempt_host"
    Tamperer(database_url).does(
        f"UPDATE transactions SET host = {hosts} FROM {numbered} WHERE attempt_host.id = transactions.id"  # noqa: S608
    )
    seen, at = [], "/api/spend?by=seller&limit=1"
    while True:
        answer = await api.get(at)
        seen += [each["key"] for each in answer.json()["items"]]
        if answer.json()["next"] is None:
            break
        at = answer.headers["link"].removeprefix("<").partition(">")[0]
    assert seen == ["a.test", "b.test", None], "one without a seller comes last"
    for wrong in ("there", "%00", "e30"):
        assert (await api.get(f"/api/spend?by=seller&after={wrong}")).json()["rule"] == "wrong_cursor"


async def test_balances_over_time_are_thinned_for_a_chart(api: httpx.AsyncClient, book: Book) -> None:
    for balance in (3, 2, 1):
        await book.ledger.agents.record_balance("buyer", Currency.USDC, balance, 10, "LOW")
    items = (await api.get("/api/balances", params={"agent": "buyer"})).json()["items"]
    assert [each["spendable"]["atomic"] for each in items] == [1, 2, 3]
    assert items[0]["threshold"]["atomic"] == 10
    thinned = (await api.get("/api/balances", params={"every": "365d", "limit": 500})).json()["items"]
    assert [each["spendable"]["atomic"] for each in thinned] == [1]
    page = (await api.get("/api/balances", params={"limit": 2})).json()
    rest = (await api.get("/api/balances", params={"limit": 2, "after": page["next"]})).json()
    assert [each["spendable"]["atomic"] for each in rest["items"]] == [3]
    assert (await api.get("/api/balances", params={"every": "never"})).json()["rule"] == "wrong_argument"


async def test_sessions_are_told_without_their_keys(api: httpx.AsyncClient, book: Book) -> None:
    await bought(book, "one")
    answer = await api.get("/api/sessions", params={"active": True})
    [session] = answer.json()["items"]
    assert (session["state"], session["left"]["amount"], session["payments"]) == ("ACTIVE", "0.999", 1)
    assert "sealed" not in answer.text
    second = await open_book(book.ledger, "other")
    page = (await api.get("/api/sessions", params={"limit": 1})).json()
    assert [each["agent"] for each in page["items"]] == [second.agent]
    rest = (await api.get("/api/sessions", params={"limit": 1, "after": page["next"]})).json()
    assert [each["agent"] for each in rest["items"]] == ["buyer"]
    assert rest["next"] is None


async def test_sellers_are_told_by_how_their_requests_ended(api: httpx.AsyncClient, book: Book) -> None:
    await bought(book, "one")
    await book.end(await book.accepted("two"), RequestStatus.REFUSED)
    await book.accepted("three")
    found = (await api.get("/api/sellers")).json()
    [seller] = found["items"]
    assert (seller["host"], seller["requests"], seller["delivered"]) == ("market.test", 3, 1)
    assert (seller["refused"], seller["open"]) == (1, 1)
    assert seller["paid"] == [{"amount": "0.001", "atomic": 1_000, "currency": "USDC"}]
    assert seller["p50_ms"] >= 0
    assert sum(each["requests"] for each in seller["times"]) == 3
    assert (found["span_s"], found["more"]) == (3_600, False)
    assert (await api.get("/api/sellers", params={"seller": "other.test"})).json()["items"] == []
    assert len((await api.get("/api/sellers", params={"seller": "market.test", "since": "2h"})).json()["items"]) == 1


async def test_more_sellers_than_are_shown_are_said_to_be_there(
    api: httpx.AsyncClient, book: Book, database_url: str
) -> None:
    for name in ("one", "two", "three"):
        await bought(book, name)
    Tamperer(database_url).does("UPDATE api_request_logs SET url = 'https://rare.test/x' WHERE request_id = 'three'")
    found = (await api.get("/api/sellers", params={"limit": 1})).json()
    assert ([each["host"] for each in found["items"]], found["more"]) == (["market.test"], True)
    assert len(found["items"][0]["times"]) >= 1
    found = (await api.get("/api/sellers", params={"limit": 1, "seller": "rare.test"})).json()
    assert ([each["host"] for each in found["items"]], found["more"]) == (["rare.test"], False)
    assert (await api.get("/api/sellers", params={"limit": 0})).status_code == 422


async def test_the_audit_trail_has_payments_requests_and_balances(api: httpx.AsyncClient, book: Book) -> None:
    await bought(book, "one")
    await book.ledger.agents.record_balance("buyer", Currency.USDC, 3, 10, "LOW")
    items = (await api.get("/api/audit")).json()["items"]
    assert {each["kind"] for each in items} == {"transaction", "request", "balance"}
    assert [each["kind"] for each in (await api.get("/api/audit?status=low")).json()["items"]] == ["balance"]


async def test_the_ledgers_state_says_why_nothing_is_signed(api: httpx.AsyncClient, book: Book) -> None:
    before = (await api.get("/api/ledger")).json()
    assert (before["fence"], before["anchor"]) == (None, None)
    assert before["events"] > 0
    await book.ledger.fence.set("restored from a backup")
    assert (await api.get("/api/ledger")).json()["fence"]["reason"] == "restored from a backup"


async def test_all_of_it_is_read_by_the_role_that_only_reads(
    book: Book, settings: Settings, postgres: EmbeddedPostgres, database_url: str
) -> None:
    await bought(book, "one")
    await book.recorded(await book.accepted("two"))
    await book.ledger.agents.record_balance("buyer", Currency.USDC, 3, 10, "LOW")
    server = Server(database_url)
    make_roles(server, {})
    assert apply_rights(server)
    reader = settings.model_copy(update={"read_database_url": postgres.url(server.name, Role.READ)})
    async with open_services(reader) as services:
        transport = httpx.ASGITransport(services.access.gate(create_app(services)))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as api:
            for path in LISTS:
                assert (await api.get(f"/api/{path}")).status_code == 200, path
            for path in PAGES:
                assert (await api.get(path, headers={"Accept": "text/html"})).status_code == 200, path
        with pytest.raises(LedgerForbids):
            async with services.sources.ledger.database.transaction() as db:
                await db.execute(text("SELECT sealed_payment FROM transactions"))


async def test_the_ledger_that_is_read_can_write_nothing_whatever_its_role(services: Services, book: Book) -> None:
    with pytest.raises(LedgerUnavailable, match="read-only transaction"):
        await services.sources.ledger.fence.set("by a reading")
