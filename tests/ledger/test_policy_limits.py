"""Limits of a request, a day at a host and a day of an agent: never passed, whoever reserves at the same moment."""

import asyncio
import os
import random
import secrets
from collections.abc import AsyncIterator

import psycopg
import pytest

from autopay.adapters.postgres import PostgresLedger, open_ledger
from autopay.domain.money import Currency
from autopay.domain.payment.attempt import RecordedAttempt
from autopay.domain.policy.policy import Policy
from autopay.domain.refusal import RefusalReason, Refused
from tests.ledger.books import PRICE, Book, open_book
from tests.ledger.terms import FEED, SHOP, Shop, accepted, as_owner_of_the_database, paid, refusal, reserve, set_limits

ENGINES = 4


@pytest.fixture
async def ledgers(database_url: str) -> AsyncIterator[list[PostgresLedger]]:
    """The same database from several processes' engines."""
    opened = [open_ledger(database_url) for _ in range(ENGINES)]
    yield opened
    for each in opened:
        await each.dispose()


async def test_a_price_may_reach_the_request_limit_and_not_pass_it(book: Book) -> None:
    await set_limits(book, per_request_atomic=PRICE)
    await paid(book)
    assert await refusal(book, SHOP.at(amount=PRICE + 1)) is RefusalReason.ABOVE_REQUEST_LIMIT


async def test_a_days_limit_at_a_host_counts_that_host_alone(book: Book) -> None:
    await set_limits(book, per_host_day_atomic=2 * PRICE)
    await paid(book)
    await paid(book, SHOP.at(url=FEED + "/other?x=1"))
    assert await refusal(book, SHOP.at(amount=1)) is RefusalReason.HOST_DAY_LIMIT
    for elsewhere in ("https://other.test/feed", "https://market.test:8443/feed"):
        await paid(book, SHOP.at(url=elsewhere, amount=2 * PRICE))


async def test_a_host_that_is_spelled_otherwise_is_the_same_host(book: Book) -> None:
    await set_limits(book, per_host_day_atomic=PRICE)
    await paid(book)
    for spelled in ("https://MARKET.test/feed", "https://market.test:443/feed", "https://market.test./feed"):
        assert await refusal(book, SHOP.at(url=spelled)) is RefusalReason.HOST_DAY_LIMIT


async def test_a_days_limit_of_an_agent_counts_every_host_and_both_currencies(ledger: PostgresLedger) -> None:
    usdc, cash = await open_book(ledger), await open_book(ledger, currency=Currency.CASH)
    cash.numbers = usdc.numbers
    await set_limits(usdc, per_agent_day_atomic=3 * PRICE)
    await paid(usdc)
    await paid(cash, SHOP.at(url="https://other.test/x", currency=Currency.CASH, amount=2 * PRICE))
    assert await refusal(usdc, SHOP.at(amount=1)) is RefusalReason.AGENT_DAY_LIMIT
    assert await refusal(cash, SHOP.at(amount=1, currency=Currency.CASH)) is RefusalReason.AGENT_DAY_LIMIT


async def test_another_agents_spending_is_not_counted(book: Book) -> None:
    other = await open_book(book.ledger, "other")
    for each in (book, other):
        await set_limits(each, per_host_day_atomic=PRICE, per_agent_day_atomic=PRICE)
        await paid(each)


async def test_an_unknown_outcome_counts_until_it_is_proven_dead(book: Book) -> None:
    await set_limits(book, per_host_day_atomic=PRICE, per_agent_day_atomic=PRICE)
    attempt = await paid(book)
    for step in (book.ledger.payments.record_sending, book.ledger.payments.record_sending):
        await step(attempt.attempt_id)
        assert await refusal(book, SHOP.at(amount=1)) is RefusalReason.HOST_DAY_LIMIT
    await book.ledger.payments.record_dead(attempt.attempt_id, "expired_unsettled")
    await paid(book)


async def test_what_settled_stays_counted(book: Book) -> None:
    await set_limits(book, per_agent_day_atomic=PRICE)
    await book.settled(await paid(book))
    assert await refusal(book, SHOP.at(amount=1)) is RefusalReason.AGENT_DAY_LIMIT


async def test_a_new_day_begins_at_midnight_utc(book: Book, database_url: str) -> None:
    await set_limits(book, per_host_day_atomic=PRICE, per_agent_day_atomic=PRICE)
    await paid(book)
    midnight = "date_trunc('day', now(), 'UTC')"
    as_owner_of_the_database(database_url, "transactions", f"created_at = {midnight}")
    assert await refusal(book, SHOP.at(amount=1)) is RefusalReason.HOST_DAY_LIMIT
    as_owner_of_the_database(database_url, "transactions", f"created_at = {midnight} - interval '1 microsecond'")
    assert (await book.ledger.policies.in_force(book.agent)).spent_today_atomic == 0
    await paid(book)


async def test_lists_of_hosts_and_payees_hold_where_money_is_reserved(book: Book) -> None:
    await set_limits(book, hosts=("market.test",))
    await paid(book)
    assert await refusal(book, SHOP.at(url="https://evil.test/feed")) is RefusalReason.HOST_NOT_ALLOWED
    await set_limits(book, currencies=(Currency.CASH,))
    assert await refusal(book) is RefusalReason.CURRENCY_NOT_ALLOWED
    await set_limits(book, payees=("9xQeWvG816bUx9EPjHmaT23yvVM2ZWbrrpZb9PusVFin",))
    assert await refusal(book) is RefusalReason.PAYEE_NOT_ALLOWED


async def test_a_refusal_reserves_nothing(book: Book) -> None:
    await set_limits(book, per_request_atomic=0)
    key = await accepted(book)
    assert await refusal(book, key=key) is RefusalReason.ABOVE_REQUEST_LIMIT
    assert await book.ledger.payments.attempt(key, 1) is None
    assert (await book.ledger.policies.in_force(book.agent)).spent_today_atomic == 0
    assert await book.ledger.policies.payees() == []


async def test_an_agents_own_policy_replaces_everyones_and_the_newest_holds(ledger: PostgresLedger) -> None:
    await ledger.agents.create("buyer")
    held = await ledger.policies.in_force("buyer")
    assert (held.policy, held.own, held.set_at) == (Policy(), False, None)
    await ledger.policies.set(Policy(per_request_atomic=1))
    held = await ledger.policies.in_force("buyer")
    assert (held.policy.per_request_atomic, held.own) == (1, False)
    for limit in (2, 2, 3):
        await ledger.policies.set(Policy(per_request_atomic=limit), "buyer")
    await ledger.policies.set(Policy(per_request_atomic=4))
    held = await ledger.policies.in_force("buyer")
    assert (held.policy.per_request_atomic, held.own) == (3, True)
    default, set_at = await ledger.policies.default()
    assert (default.per_request_atomic, set_at is not None) == (4, True)


async def test_what_is_taken_today_is_told_by_host(book: Book) -> None:
    await paid(book)
    await paid(book, SHOP.at(url="https://other.test/x", amount=5 * PRICE))
    await book.ledger.payments.record_dead((await paid(book)).attempt_id, "expired_unsettled")
    held = await book.ledger.policies.in_force(book.agent)
    assert held.spent_today_atomic == 6 * PRICE
    assert held.by_host_today_atomic == {"other.test:443": 5 * PRICE, "market.test:443": PRICE}


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

        buying = asyncio.gather(*(buy(at, shop) for at, shop in enumerate(shops)))
        while not buying.done():
            await asyncio.to_thread(require_within, database_url, book.agent, limits, seed)
        await buying
        require_within(database_url, book.agent, limits, seed)
        assert recorded, f"seed {seed}"
        assert len(recorded) < len(shops), f"seed {seed}: no limit was reached"


def require_within(database_url: str, agent: str, limits: dict[str, int], seed: int) -> None:
    """What is booked at this moment is within every limit; by SQL of its own."""
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "SELECT t.host, max(t.amount) * 1000000, sum(t.amount) * 1000000 FROM transactions t "
            "JOIN agents a ON a.id = t.agent_id WHERE a.name = %s AND t.status <> 'FAILED' GROUP BY t.host",
            (agent,),
        ).fetchall()
    for host, most, total in rows:
        assert most <= limits["per_request_atomic"], f"seed {seed}: {host}"
        assert total <= limits["per_host_day_atomic"], f"seed {seed}: {host}"
    assert sum(total for _, _, total in rows) <= limits["per_agent_day_atomic"], f"seed {seed}"
