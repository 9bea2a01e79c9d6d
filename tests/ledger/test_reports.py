"""What `ledger show`, `ledger export` and `ledger spend` read, on a real PostgreSQL."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import psycopg
import pytest

from autopay.adapters.postgres.maintenance import migrations
from autopay.adapters.postgres.reports import reports
from autopay.adapters.postgres.reports.queries import like_pattern
from autopay.domain.errors import UnknownAgent
from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.report.filter import Cursor, Filter, SpendBy
from autopay.domain.report.rows import PaymentRow, SpendRow, TrailRow
from tests.ledger.books import PRICE, Book, open_book, spec_of


async def paid(book: Book, path: str, amount: int = PRICE) -> str:
    """A settled payment for that path; its request key."""
    number = next(book.numbers)
    spec = spec_of(f"request-{number}", url=f"https://market.test{path}?n={number}")
    assert await book.ledger.requests.accept(book.agent, spec, 1.0, 10_000) is None
    key = book.key(spec.request_id)
    await book.ledger.requests.begin(key)
    await book.settled(await book.recorded(key, amount=amount))
    return key


async def keys(book: Book, **wanted: object) -> list[str]:
    """The payments that the filter leaves, newest first, as the numbers of their requests."""
    page = await book.ledger.reports.payments(Filter.model_validate(wanted))
    return [(row.request_id or "").removeprefix("request-") for row in page.rows]


def execute(url: str, statement: str, *values: object) -> None:
    """As the database's owner, without triggers."""
    with psycopg.connect(url) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(statement, values)


async def test_payments_are_filtered_by_every_column(book: Book) -> None:
    other = await open_book(book.ledger, "other", currency=Currency.USDC)
    for path, amount in (("/api/a", 1_000), ("/api/b", 2_000), ("/apix/c_d", 3_000)):
        await paid(book, path, amount)
    await paid(other, "/api/a")
    await book.recorded(await book.accepted("request-4"))
    assert await keys(book) == ["4", "1", "3", "2", "1"]
    assert await keys(book, agent="buyer") == ["4", "3", "2", "1"]
    assert await keys(book, agent="buyer", endpoint="/api/a") == ["1"]
    assert await keys(book, agent="buyer", endpoint="/api/?") == ["2", "1"]
    assert await keys(book, agent="buyer", endpoint="*c_d") == ["3"]
    assert await keys(book, endpoint="*c?d?") == []
    assert await keys(book, statuses=("PENDING",)) == ["4"]
    assert await keys(book, agent="buyer", statuses=("PENDING", "VERIFIED")) == ["4", "3", "2", "1"]
    assert await keys(book, agent="buyer", min_atomic=2_000, max_atomic=2_000) == ["2"]
    assert await keys(book, currency=Currency.CASH) == []
    with pytest.raises(UnknownAgent):
        await keys(book, agent="nobody")


async def test_since_is_included_and_until_is_not(book: Book) -> None:
    for path in ("/1", "/2", "/3"):
        await paid(book, path)
    newest, middle, _ = (row.created_at for row in (await book.ledger.reports.payments()).rows)
    assert await keys(book, since=middle) == ["3", "2"]
    assert await keys(book, until=newest) == ["2", "1"]
    assert await keys(book, since=middle, until=newest) == ["2"]


async def test_pages_give_every_payment_once_also_those_of_one_moment(book: Book, database_url: str) -> None:
    for path in "12345":
        await paid(book, f"/{path}")
    execute(database_url, "UPDATE transactions SET created_at = %s WHERE amount > 0", datetime.now(UTC))
    whole = (await book.ledger.reports.payments()).rows
    found: list[PaymentRow] = []
    after = None
    while True:
        page = await book.ledger.reports.payments(after=after, limit=2)
        found += page.rows
        after = page.next
        if after is None:
            break
    assert found == list(whole)
    assert len(found) == 5


async def test_a_page_goes_on_behind_its_cursor_whatever_was_recorded_meanwhile(book: Book) -> None:
    for path in "123":
        await paid(book, f"/{path}")
    first = await book.ledger.reports.payments(limit=2)
    assert first.next == first.rows[-1].cursor
    await paid(book, "/4")
    rest = await book.ledger.reports.payments(after=first.next, limit=2)
    assert [row.request_id for row in rest.rows] == ["request-1"]
    assert rest.next is None


def test_a_cursor_is_read_as_it_was_written_and_nothing_else_is_one() -> None:
    place = Cursor(at=datetime(2026, 11, 22, 1, 2, 3, 4, tzinfo=UTC), row_id=UUID(int=7))
    assert Cursor.parse(str(place)) == place
    for wrong in ("", "x", "2026-11-22_", f"2026-11-22_{UUID(int=7).hex}", f"_{UUID(int=7)}"):
        with pytest.raises(ValueError, match=r".+"):
            Cursor.parse(wrong)


def test_only_stars_and_question_marks_stand_for_other_text() -> None:
    assert like_pattern("/a*b?c") == "/a%b_c"
    assert like_pattern(r"50%_\x") == r"50\%\_\\x"


async def test_everything_is_read_in_batches(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "EXPORT_PAGE", 2)
    for path in "12345":
        await paid(book, f"/{path}")
    batches = [[row.request_id for row in batch] async for batch in book.ledger.reports.every_payment()]
    assert batches == [["request-5", "request-4"], ["request-3", "request-2"], ["request-1"]]
    assert [len(batch) async for batch in book.ledger.reports.every_payment(Filter(endpoint="/none"))] == [0]


async def test_a_payment_keeps_the_path_of_its_request(book: Book, database_url: str) -> None:
    await paid(book, "/api/a")
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE transactions SET endpoint = '/elsewhere'")
        assert connection.execute("SELECT endpoint FROM transactions").fetchall() == [("/api/a",)]


async def test_payments_of_before_get_their_path_and_no_event_of_it(book: Book, database_url: str) -> None:
    await paid(book, "/api/a")
    await book.recorded()
    await book.ledger.dispose()
    await asyncio.to_thread(migrations.downgrade, database_url, "0006_audit")
    with psycopg.connect(database_url, autocommit=True) as connection:
        events = connection.execute("SELECT count(*) FROM audit_events").fetchall()
        await asyncio.to_thread(migrations.upgrade, database_url)
        query = "SELECT endpoint FROM transactions ORDER BY created_at"
        assert connection.execute(query).fetchall() == [("/api/a",), ("/api/market-feed",)]
        assert connection.execute("SELECT count(*) FROM audit_events").fetchall() == events
    assert await keys(book, endpoint="/api/a") == ["1"]


# Spending


async def spent(book: Book, by: SpendBy | None = None, **wanted: object) -> list[SpendRow]:
    """What the ledger sums up."""
    return list((await book.ledger.reports.spend(Filter.model_validate(wanted), by)).rows)


async def test_settled_open_and_failed_are_counted_apart(book: Book) -> None:
    await paid(book, "/a", 1_000)
    await paid(book, "/a", 2_000)
    await book.recorded(amount=5_000)
    dead = await book.recorded(amount=7_000)
    await book.ledger.payments.record_dead(dead.attempt_id, "expired_unsettled")
    assert await spent(book) == [
        SpendRow(
            key=None,
            network=Network.DEVNET,
            currency=Currency.USDC,
            settled_atomic=3_000,
            settled=2,
            open_atomic=5_000,
            open=1,
            failed=1,
        )
    ]
    assert [row.settled for row in await spent(book, min_atomic=1_500)] == [1]
    assert await spent(book, agent="buyer", currency=Currency.CASH) == []


async def test_spending_is_summed_by_day_endpoint_payee_and_agent(book: Book, database_url: str) -> None:
    other = await open_book(book.ledger, "other")
    for each, path in ((book, "/a"), (book, "/b"), (other, "/b")):
        await paid(each, path)
    yesterday = datetime.now(UTC).replace(hour=23, minute=59) - timedelta(days=1)
    execute(database_url, "UPDATE transactions SET created_at = %s WHERE endpoint = '/a'", yesterday)
    today = f"{datetime.now(UTC):%F}"
    for by, expected in {
        SpendBy.DAY: {f"{yesterday:%F}": 1, today: 2},
        SpendBy.ENDPOINT: {"/a": 1, "/b": 2},
        SpendBy.PAYEE: {"seller": 3},
        SpendBy.AGENT: {"buyer": 2, "other": 1},
    }.items():
        assert {row.key: row.settled for row in await spent(book, by)} == expected


async def test_currencies_and_networks_are_never_added_up(book: Book, database_url: str) -> None:
    await paid(book, "/a")
    await paid(book, "/b")
    await paid(book, "/c")
    execute(database_url, "UPDATE transactions SET currency = 'CASH' WHERE endpoint = '/b'")
    execute(database_url, "UPDATE transactions SET network = 'MAINNET' WHERE endpoint = '/c'")
    found = {(row.network.value, row.currency.value): row.settled_atomic for row in await spent(book, SpendBy.AGENT)}
    assert found == {("DEVNET", "USDC"): PRICE, ("DEVNET", "CASH"): PRICE, ("MAINNET", "USDC"): PRICE}


# The audit trail


async def test_the_trail_is_one_timeline_of_an_agent_page_by_page(book: Book) -> None:
    await paid(book, "/api/a")
    await book.ledger.agents.record_balance("buyer", Currency.USDC, 5, 1, "LOW")
    await paid(await open_book(book.ledger, "other"), "/api/a")
    whole = await book.ledger.reports.trail(Filter(agent="buyer"))
    assert [(row.kind, row.status, row.amount, row.endpoint, row.request_id, row.agent) for row in whole.rows] == [
        ("balance", "LOW", Decimal("0.000005"), None, None, "buyer"),
        ("transaction", "VERIFIED", Decimal("0.001000"), "/api/a", "request-1", "buyer"),
        ("request", None, Decimal("0.001000"), "/api/a", "request-1", "buyer"),
    ]
    assert whole.rows[1].hash == whole.rows[2].hash
    assert len((await book.ledger.reports.trail()).rows) == 5
    pages: list[TrailRow] = []
    after = None
    for _ in range(3):
        page = await book.ledger.reports.trail(Filter(agent="buyer"), after=after, limit=1)
        pages += page.rows
        after = page.next
    assert (tuple(pages), after) == (whole.rows, None)


async def test_the_trail_is_filtered_like_the_payments(book: Book) -> None:
    await paid(book, "/api/a", 3_000)
    await book.ledger.agents.record_balance("buyer", Currency.CASH, 5, 1, "LOW")

    async def kinds(**wanted: object) -> list[str]:
        return [row.kind for row in (await book.ledger.reports.trail(Filter.model_validate(wanted))).rows]

    assert await kinds(endpoint="/api/*") == ["transaction", "request"]
    assert await kinds(statuses=("LOW", "VERIFIED")) == ["balance", "transaction"]
    assert await kinds(min_atomic=3_000) == ["transaction", "request"]
    assert await kinds(currency=Currency.CASH) == ["balance"]
    assert await kinds(until=datetime.now(UTC) - timedelta(days=1)) == []
