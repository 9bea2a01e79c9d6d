"""Counters of sessions and days: they are the sum of the payments whatever happens, and a wall below the program's."""

import asyncio
import os
import random
import secrets
from typing import Any, LiteralString

import psycopg
import pytest

from autopay.adapters.postgres import PostgresLedger, open_ledger
from autopay.adapters.postgres.maintenance import migrations
from autopay.domain.audit.events import MismatchReason
from autopay.domain.audit.ledger_check import AGENT_TABLES, LedgerCheck
from autopay.domain.money import Currency
from autopay.domain.payment.attempt import RecordedAttempt
from autopay.domain.refusal import Refused
from tests.ledger.books import PRICE, Book, open_book
from tests.ledger.proofs import Tamperer, busy, findings, rows
from tests.ledger.terms import SHOP, accepted, paid, reserve, set_limits
from tests.ledger.test_fences import booked, forgotten
from tests.ledger.test_migrations import REVISIONS, execute
from tests.ledger.test_triggers import refused

LOOK_S = 0.01
"""Between two looks at what a connection waits for."""

SESSIONS = "SELECT session_id, payments, spent FROM session_usage ORDER BY session_id"
DAYS = "SELECT agent_id, day, host, payments, spent FROM day_usage ORDER BY agent_id, day, host"

ANOTHER: LiteralString = (
    "INSERT INTO transactions SELECT (jsonb_populate_record(t, jsonb_build_object('id', gen_random_uuid(), "
    "'x402_request_id', gen_random_uuid(), 'message_hash', gen_random_uuid(), 'hash', NULL, 'status', %s::text, "
    "'amount', %s::numeric, 'created_at', coalesce(%s::timestamptz, now())))).* FROM transactions t LIMIT 1"
)
"""A payment like the one that is there: its status, amount and time."""


async def test_a_payment_counts_from_its_reservation_until_it_is_proven_dead(book: Book, database_url: str) -> None:
    def used() -> list[tuple[Any, ...]]:
        both = (
            rows(database_url, "SELECT payments, spent * 1000000 FROM session_usage"),
            rows(database_url, "SELECT payments, spent * 1000000 FROM day_usage WHERE host = 'market.test:443'"),
        )
        assert both[0] == both[1]
        return both[0]

    assert used() == []
    first, second = await book.recorded(), await book.recorded(amount=2 * PRICE)
    assert used() == [(2, 3 * PRICE)]
    await book.delivered(first)
    await book.settled(first)
    assert used() == [(2, 3 * PRICE)]
    for _ in range(2):
        await book.ledger.payments.record_dead(second.attempt_id, "expired_unsettled")
        assert used() == [(1, PRICE)]
    await book.recorded(second.request_key, 2)
    assert used() == [(2, 2 * PRICE)]
    assert await findings(database_url) == []


async def test_what_was_not_reserved_here_is_counted_as_well(book: Book, database_url: str) -> None:
    await booked(book, forgotten(book), forgotten(book, memo="other", signature="lost too", amount=5))
    await book.ledger.maintenance.seed()
    assert rows(database_url, "SELECT payments, spent * 1000000 FROM session_usage") == [(2, PRICE + 5)]
    assert rows(database_url, "SELECT host, payments FROM day_usage") == [("", 2)]
    held = await book.ledger.policies.in_force(book.agent)
    assert held.by_host_today_atomic == {"": PRICE + 5}
    assert await findings(database_url) == []


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
async def test_a_day_ends_at_midnight_utc_whatever_the_connections_time_zone_is(
    book: Book, database_url: str, zone: str
) -> None:
    await book.recorded()
    with psycopg.connect(database_url, autocommit=True) as db:
        db.execute("SELECT set_config('timezone', %s, false)", [zone])
        for moment in ("2026-03-01 23:59:59.999999+00", "2026-03-02 00:00:00+00"):
            db.execute(ANOTHER, ["PENDING", "0.002", moment])
        days = "SELECT day::text, payments, spent::text FROM day_usage ORDER BY day LIMIT 2"
        assert db.execute(days).fetchall() == [("2026-03-01", 1, "0.002000"), ("2026-03-02", 1, "0.002000")]
    assert await findings(database_url) == []


@pytest.mark.parametrize(
    ("allowance", "tx_limit", "amount"),
    [
        pytest.param(3 * PRICE, 2, "0.002001", id="one unit above the allowance"),
        pytest.param(3 * PRICE, 1, "0", id="one payment above the limit, though it costs nothing"),
    ],
)
async def test_a_reservation_beyond_the_session_is_refused_by_the_database_itself(
    ledger: PostgresLedger, database_url: str, allowance: int, tx_limit: int, amount: str
) -> None:
    book = await open_book(ledger, allowance=allowance, tx_limit=tx_limit)
    await book.recorded()
    before = rows(database_url, SESSIONS), rows(database_url, DAYS)
    assert "allows" in refused(database_url, ANOTHER, "PENDING", amount, None)
    assert (rows(database_url, SESSIONS), rows(database_url, DAYS)) == before
    assert await findings(database_url) == []


async def test_the_first_reservation_of_a_session_is_held_to_its_limits_too(
    ledger: PostgresLedger, database_url: str
) -> None:
    await (await open_book(ledger)).recorded()
    poor = await open_book(ledger, "poor", allowance=PRICE)
    other = ANOTHER.replace("'hash', NULL", "'hash', NULL, 'session_id', %s::uuid")
    assert "allows 1000 payments and 0.001000" in refused(
        database_url, other, poor.session_id, "PENDING", "0.001001", None
    )
    assert rows(database_url, "SELECT count(*) FROM session_usage") == [(1,)]


async def test_what_the_chain_shows_is_booked_beyond_the_session_and_then_nothing_is_left(
    ledger: PostgresLedger, database_url: str
) -> None:
    book = await open_book(ledger, allowance=PRICE, tx_limit=1)
    await booked(book, forgotten(book), forgotten(book, memo="other", signature="lost too"))
    assert rows(database_url, "SELECT payments, spent * 1000000 FROM session_usage") == [(2, 2 * PRICE)]
    assert isinstance(await book.reserve(await book.accepted(), amount=1), Refused)


BY_HAND: list[LiteralString] = [
    "UPDATE session_usage SET spent = 0",
    "UPDATE day_usage SET payments = 0",
    "INSERT INTO day_usage SELECT agent_id, day - 1, host, payments, spent FROM day_usage",
    "INSERT INTO session_usage SELECT gen_random_uuid(), payments, spent FROM session_usage",
    "DELETE FROM session_usage",
    "DELETE FROM day_usage",
    "TRUNCATE session_usage",
    "TRUNCATE day_usage",
]


async def test_nobody_moves_a_counter_by_hand(book: Book, database_url: str) -> None:
    await busy(book)
    for statement in BY_HAND:
        assert "only payments move it" in refused(database_url, statement)
    assert await findings(database_url) == []


WRONG: dict[str, tuple[LiteralString, str, str]] = {
    "a session's sum is lowered": (
        "UPDATE session_usage SET spent = spent - 0.001",
        "session_usage",
        f"says 2 payments of {PRICE} base units, booked are 2 payments of {2 * PRICE} base units",
    ),
    "a session's payments are lowered": (
        "UPDATE session_usage SET payments = 0",
        "session_usage",
        f"says 0 payments of {2 * PRICE} base units",
    ),
    "a session's counter is deleted": ("DELETE FROM session_usage", "session_usage", "says 0 payments of 0 base units"),
    "a session that never paid has a counter": (
        "INSERT INTO session_usage SELECT id, 1, 0 FROM sessions WHERE currency = 'CASH'",
        "session_usage",
        "says 1 payments of 0 base units, booked are 0 payments",
    ),
    "a day is given to another": ("UPDATE day_usage SET day = day - 1", "day_usage", "booked are 0 payments of 0"),
    "a host's day is given to another host": (
        "UPDATE day_usage SET host = 'elsewhere.test:443'",
        "day_usage",
        "at market.test:443 says 0 payments",
    ),
    "a payment is forged as failed": (
        "UPDATE transactions SET status = 'FAILED' WHERE status = 'PENDING'",
        "day_usage",
        f"says 2 payments of {2 * PRICE} base units, booked are 1 payments of {PRICE} base units",
    ),
}


@pytest.mark.parametrize(("statement", "table", "says"), WRONG.values(), ids=WRONG.keys())
async def test_a_counter_that_is_not_the_sum_of_its_payments_is_found_and_can_be_counted_anew(
    book: Book, database_url: str, statement: LiteralString, table: str, says: str
) -> None:
    await busy(book)
    Tamperer(database_url).does(statement)
    found = [each for each in await findings(database_url) if each.reason is MismatchReason.COUNTER_DIFFERS]
    assert any(each.table == table and says in each.detail for each in found), found
    assert all(each.agent_id is not None for each in found)
    execute(database_url, "SELECT recount_usage()")
    assert MismatchReason.COUNTER_DIFFERS not in {each.reason for each in await findings(database_url)}
    execute(database_url, "UPDATE sessions SET status = 'REVOKED'")  # the triggers are in force again
    assert "only payments move it" in refused(database_url, "UPDATE session_usage SET spent = 0")


async def test_a_check_of_one_agent_tells_of_its_own_counters_only(book: Book, database_url: str) -> None:
    await book.recorded()
    other = await open_book(book.ledger, "other")
    await other.recorded()
    agents = dict(rows(database_url, "SELECT name, id FROM agents"))
    Tamperer(database_url).does("UPDATE session_usage SET spent = 0 WHERE session_id = %s", other.session_id)
    Tamperer(database_url).does("UPDATE day_usage SET spent = 0 WHERE agent_id = %s", agents["other"])
    for name, expected in (("buyer", set()), ("other", {"session_usage", "day_usage"})):
        async with book.ledger.audit.snapshot(agents[name]) as snapshot:
            check = LedgerCheck(snapshot, tables=AGENT_TABLES)
            await check.run(agents[name])
        assert {each.table for each in check.findings.kept} == expected


async def test_the_way_down_and_up_counts_the_same(book: Book, database_url: str) -> None:
    await busy(book)
    await paid(book, SHOP.at(url="https://other.test/x"))
    before = rows(database_url, SESSIONS), rows(database_url, DAYS)
    await book.ledger.dispose()
    await asyncio.to_thread(migrations.downgrade, database_url, REVISIONS[REVISIONS.index("0010_usage") - 1])
    await asyncio.to_thread(migrations.upgrade, database_url)
    assert (rows(database_url, SESSIONS), rows(database_url, DAYS)) == before
    assert await findings(database_url) == []


async def test_transactions_that_fail_payments_of_two_sessions_in_opposite_order_do_not_deadlock(
    ledger: PostgresLedger, database_url: str
) -> None:
    usdc, cash = [await open_book(ledger, currency=currency) for currency in Currency]
    cash.numbers = usdc.numbers  # one agent's requests
    shops = [SHOP.at(currency=currency) for currency in Currency]
    first, second, third = [
        (await paid(book, shop)).attempt_id for book, shop in ((usdc, shops[0]), (cash, shops[1]), (cash, shops[1]))
    ]
    fail: LiteralString = "UPDATE transactions SET status = 'FAILED' WHERE id = %s"
    async with (
        await psycopg.AsyncConnection.connect(database_url) as one,
        await psycopg.AsyncConnection.connect(database_url) as other,
    ):
        pid = other.info.backend_pid
        await one.execute(fail, [first])
        waiting = asyncio.create_task(other.execute(fail, [third]))
        while rows(database_url, "SELECT wait_event_type FROM pg_stat_activity WHERE pid = %s", pid) != [("Lock",)]:
            assert not waiting.done(), "both count in the same day at the same host"
            await asyncio.sleep(LOOK_S)
        await one.execute(fail, [second])
        await one.commit()
        await waiting
        await other.commit()
    assert await findings(database_url) == []
    assert rows(database_url, "SELECT DISTINCT payments, spent FROM session_usage") == [(0, 0)]


async def test_reservations_and_deaths_at_the_same_moment_never_deadlock_and_lose_no_count(database_url: str) -> None:
    """Two agents with two sessions each, by three processes' engines: attempts die while others are reserved."""
    seed = int(os.environ.get("AUTOPAY_TEST_SEED") or secrets.randbits(32))
    chance = random.Random(seed)  # noqa: S311
    ledgers = [open_ledger(database_url) for _ in range(3)]
    books = [await open_book(ledgers[0], f"agent-{number}") for number in range(2)]
    for each in books:
        await set_limits(each, per_host_day_atomic=10 * PRICE, per_agent_day_atomic=14 * PRICE)
    buys = [
        (books[number % 2], SHOP.at(url=f"https://shop{number % 3}.test/x"), ledgers[number % 3])
        for number in range(30)
    ]
    keys = [await accepted(book, shop) for book, shop, _ in buys]
    died = 0

    async def buy(at: int) -> None:
        nonlocal died
        book, shop, ledger = buys[at]
        for number in (1, 2):
            found = await reserve(book, shop, keys[at], number, ledger=ledger)
            if not isinstance(found, RecordedAttempt):
                assert isinstance(found, Refused), f"seed {seed}: {found}"
                return
            if chance.random() < 0.3:
                return
            await ledgers[chance.randrange(3)].payments.record_dead(found.attempt_id, "expired_unsettled")
            died += 1

    await asyncio.gather(*(buy(at) for at in range(len(buys))))
    for ledger in ledgers:
        await ledger.dispose()
    assert died > 0, f"seed {seed}"
    assert await findings(database_url) == [], f"seed {seed}"
