"""Limits of a request, a day at a host and a day of an agent."""

from autopay.domain.money import Currency
from autopay.domain.refusal import RefusalReason
from tests.ledger.books import PRICE, AnyBook, open_book
from tests.ledger.contract.conftest import Store
from tests.ledger.stores import AnyLedger
from tests.ledger.terms import FEED, SHOP, accepted, paid, refusal, set_limits


async def test_a_price_may_reach_the_request_limit_and_not_pass_it(book: AnyBook) -> None:
    await set_limits(book, per_request_atomic=PRICE)
    await paid(book)
    assert await refusal(book, SHOP.at(amount=PRICE + 1)) is RefusalReason.ABOVE_REQUEST_LIMIT


async def test_a_days_limit_at_a_host_counts_that_host_alone(book: AnyBook) -> None:
    await set_limits(book, per_host_day_atomic=2 * PRICE)
    await paid(book)
    await paid(book, SHOP.at(url=FEED + "/other?x=1"))
    assert await refusal(book, SHOP.at(amount=1)) is RefusalReason.HOST_DAY_LIMIT
    for elsewhere in ("https://other.test/feed", "https://market.test:8443/feed"):
        await paid(book, SHOP.at(url=elsewhere, amount=2 * PRICE))


async def test_a_host_that_is_spelled_otherwise_is_the_same_host(book: AnyBook) -> None:
    await set_limits(book, per_host_day_atomic=PRICE)
    await paid(book)
    for spelled in ("https://MARKET.test/feed", "https://market.test:443/feed", "https://market.test./feed"):
        assert await refusal(book, SHOP.at(url=spelled)) is RefusalReason.HOST_DAY_LIMIT


async def test_a_days_limit_of_an_agent_counts_every_host_and_both_currencies(ledger: AnyLedger) -> None:
    usdc, cash = await open_book(ledger), await open_book(ledger, currency=Currency.CASH)
    cash.numbers = usdc.numbers
    await set_limits(usdc, per_agent_day_atomic=3 * PRICE)
    await paid(usdc)
    await paid(cash, SHOP.at(url="https://other.test/x", currency=Currency.CASH, amount=2 * PRICE))
    assert await refusal(usdc, SHOP.at(amount=1)) is RefusalReason.AGENT_DAY_LIMIT
    assert await refusal(cash, SHOP.at(amount=1, currency=Currency.CASH)) is RefusalReason.AGENT_DAY_LIMIT


async def test_another_agents_spending_is_not_counted(book: AnyBook) -> None:
    other = await open_book(book.ledger, "other")
    for each in (book, other):
        await set_limits(each, per_host_day_atomic=PRICE, per_agent_day_atomic=PRICE)
        await paid(each)


async def test_an_unknown_outcome_counts_until_it_is_proven_dead(book: AnyBook) -> None:
    await set_limits(book, per_host_day_atomic=PRICE, per_agent_day_atomic=PRICE)
    attempt = await paid(book)
    for step in (book.ledger.payments.record_sending, book.ledger.payments.record_sending):
        await step(attempt.attempt_id)
        assert await refusal(book, SHOP.at(amount=1)) is RefusalReason.HOST_DAY_LIMIT
    await book.ledger.payments.record_dead(attempt.attempt_id, "expired_unsettled")
    await paid(book)


async def test_what_settled_stays_counted(book: AnyBook) -> None:
    await set_limits(book, per_agent_day_atomic=PRICE)
    await book.settled(await paid(book))
    assert await refusal(book, SHOP.at(amount=1)) is RefusalReason.AGENT_DAY_LIMIT


async def test_a_new_day_begins_at_midnight_utc(book: AnyBook, store: Store) -> None:
    await set_limits(book, per_host_day_atomic=PRICE, per_agent_day_atomic=PRICE)
    await paid(book)
    store.move_payments(True)
    assert await refusal(book, SHOP.at(amount=1)) is RefusalReason.HOST_DAY_LIMIT
    store.move_payments(False)
    assert (await book.ledger.policies.in_force(book.agent)).spent_today_atomic == 0
    await paid(book)


async def test_lists_of_hosts_and_payees_hold_where_money_is_reserved(book: AnyBook) -> None:
    await set_limits(book, hosts=("market.test",))
    await paid(book)
    assert await refusal(book, SHOP.at(url="https://evil.test/feed")) is RefusalReason.HOST_NOT_ALLOWED
    await set_limits(book, currencies=(Currency.CASH,))
    assert await refusal(book) is RefusalReason.CURRENCY_NOT_ALLOWED
    await set_limits(book, payees=("9xQeWvG816bUx9EPjHmaT23yvVM2ZWbrrpZb9PusVFin",))
    assert await refusal(book) is RefusalReason.PAYEE_NOT_ALLOWED


async def test_a_refusal_reserves_nothing(book: AnyBook) -> None:
    await set_limits(book, per_request_atomic=0)
    key = await accepted(book)
    assert await refusal(book, key=key) is RefusalReason.ABOVE_REQUEST_LIMIT
    assert await book.ledger.payments.attempt(key, 1) is None
    assert (await book.ledger.policies.in_force(book.agent)).spent_today_atomic == 0
    assert await book.ledger.policies.payees() == []


async def test_what_is_taken_today_is_told_by_host(book: AnyBook) -> None:
    await paid(book)
    await paid(book, SHOP.at(url="https://other.test/x", amount=5 * PRICE))
    await book.ledger.payments.record_dead((await paid(book)).attempt_id, "expired_unsettled")
    held = await book.ledger.policies.in_force(book.agent)
    assert held.spent_today_atomic == 6 * PRICE
    assert held.by_host_today_atomic == {"other.test:443": 5 * PRICE, "market.test:443": PRICE}
