"""Several processes' engines on one database reserve at the same moment: one payment, and no limit is passed."""

import asyncio
import os
import random
import secrets
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from autopay.adapters.postgres import PostgresLedger, open_ledger
from autopay.domain.money import Currency
from autopay.domain.payment.attempt import RecordedAttempt
from autopay.domain.refusal import RefusalReason, Refused
from tests.ledger.books import PRICE, Book, open_book
from tests.ledger.terms import SHOP, Shop, accepted, reserve, set_limits

ENGINES = 4
LOOK_S = 0.005
"""Between two looks at what is booked: a reservation takes longer, and the looks must not take its time."""


@pytest.fixture
async def ledgers(database_url: str) -> AsyncIterator[list[PostgresLedger]]:
    """The same database from several processes' engines."""
    opened = [open_ledger(database_url) for _ in range(ENGINES)]
    yield opened
    for each in opened:
        await each.dispose()


async def test_concurrent_calls_through_two_sessions_record_one_payment(book: Book, database_url: str) -> None:
    key = await book.accepted()
    newer = await open_book(book.ledger)
    with psycopg.connect(database_url) as connection:
        connection.execute("SET session_replication_role = replica")  # without triggers
        connection.execute("UPDATE sessions SET status = 'ACTIVE'")
    results = await asyncio.gather(*(session.reserve(key) for session in [book, newer] * 8), return_exceptions=True)
    recorded = {result.message_hash for result in results if isinstance(result, RecordedAttempt)}
    assert len(recorded) == 1
    assert not [result for result in results if isinstance(result, BaseException)]


async def test_no_limit_is_ever_passed_by_reservations_at_the_same_moment(
    ledgers: list[PostgresLedger], database_url: str
) -> None:
    seed = int(os.environ.get("AUTOPAY_TEST_SEED") or secrets.randbits(32))
    chance = random.Random(seed)  # noqa: S311
    for round_number in range(2):
        book, cash = [
            await open_book(ledgers[0], f"agent-{round_number}", allowance=10**9, tx_limit=10**6, currency=currency)
            for currency in Currency  # two sessions, so that only the agent's own lock stands between them
        ]
        limits = {
            "per_request_atomic": chance.randrange(PRICE, 3 * PRICE),
            "per_host_day_atomic": chance.randrange(2 * PRICE, 12 * PRICE),
            "per_agent_day_atomic": chance.randrange(4 * PRICE, 16 * PRICE),
        }
        await set_limits(book, **limits)
        shops = [
            SHOP.at(url=f"https://shop{chance.randrange(3)}.test/x", amount=chance.randrange(1, 3 * PRICE))
            for _ in range(24)
        ]
        keys = [await accepted(book, shop) for shop in shops]
        recorded: list[RecordedAttempt] = []

        async def buy(at: int, shop: Shop, books: tuple[Book, Book] = (book, cash), keys: list[str] = keys) -> None:
            ledger, payer = ledgers[at % ENGINES], books[at % 2]
            currency = Currency.CASH if at % 2 else Currency.USDC
            found = await reserve(payer, shop.at(currency=currency), keys[at], ledger=ledger)
            if not isinstance(found, RecordedAttempt):
                assert isinstance(found, Refused), f"seed {seed}"
                return
            recorded.append(found)  # noqa: B023 - used within this round
            match chance.randrange(3):
                case 0:
                    await ledger.payments.record_dead(found.attempt_id, "expired_unsettled")
                case 1:
                    await ledger.payments.record_sending(found.attempt_id)
                case _:
                    return

        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
            buying = asyncio.gather(*(buy(at, shop) for at, shop in enumerate(shops)))
            while not buying.done():
                await require_within(connection, book.agent, limits, seed)
                await asyncio.sleep(LOOK_S)
            await buying
            await require_within(connection, book.agent, limits, seed)
        assert recorded, f"seed {seed}"
        assert len(recorded) < len(shops), f"seed {seed}: no limit was reached"


async def test_of_two_first_payments_at_once_to_different_payees_one_gets_through(
    ledger: PostgresLedger, database_url: str
) -> None:
    second = open_ledger(database_url)
    books = [await open_book(ledger, "one"), await open_book(ledger, "two")]
    try:
        for round_number in range(8):
            shop = SHOP.at(url=f"https://new-{round_number}.test/x")
            keys = [await accepted(book, shop) for book in books]
            found = await asyncio.gather(
                reserve(books[0], shop.at(pay_to="left"), keys[0]),
                reserve(books[1], shop.at(pay_to="right"), keys[1], ledger=second),
            )
            reasons = [each.reason for each in found if isinstance(each, Refused)]
            assert reasons == [RefusalReason.PAYEE_CHANGED]
            assert sum(isinstance(each, RecordedAttempt) for each in found) == 1
    finally:
        await second.dispose()
    assert len(await ledger.policies.payees()) == 8


async def require_within(
    connection: psycopg.AsyncConnection[Any], agent: str, limits: dict[str, int], seed: int
) -> None:
    """What is booked at this moment is within every limit; by SQL of its own."""
    found = await connection.execute(
        "SELECT t.host, max(t.amount) * 1000000, sum(t.amount) * 1000000 FROM transactions t "
        "JOIN agents a ON a.id = t.agent_id WHERE a.name = %s AND t.status <> 'FAILED' GROUP BY t.host",
        (agent,),
    )
    rows = await found.fetchall()
    for host, most, total in rows:
        assert most <= limits["per_request_atomic"], f"seed {seed}: {host}"
        assert total <= limits["per_host_day_atomic"], f"seed {seed}: {host}"
    assert sum(total for _, _, total in rows) <= limits["per_agent_day_atomic"], f"seed {seed}"
