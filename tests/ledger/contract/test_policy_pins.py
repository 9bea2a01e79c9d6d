"""Payees and prices: the first payment makes a payee known, and what changes later is refused or asked."""

import asyncio

from autopay.domain.network import Network
from autopay.domain.payment.attempt import RecordedAttempt
from autopay.domain.refusal import RefusalReason
from tests.ledger.books import PRICE, AnyBook, offer_of, open_book, signed_payment
from tests.ledger.stores import AnyLedger
from tests.ledger.terms import (
    FEED,
    SHOP,
    accepted,
    asked,
    decide,
    interactive,
    paid,
    refusal,
    reserve,
    set_limits,
)

NAMED = "9xQeWvG816bUx9EPjHmaT23yvVM2ZWbrrpZb9PusVFin"


async def known(book: AnyBook) -> list[tuple[str, str, str]]:
    return [(row.origin, row.pay_to, row.accepted_by) for row in await book.ledger.policies.payees()]


async def test_the_first_payment_makes_its_payee_known(book: AnyBook) -> None:
    await paid(book)
    await paid(book)
    assert await known(book) == [("https://market.test:443/", "seller", "first payment")]


async def test_another_payee_of_that_origin_is_refused_and_nothing_is_recorded(book: AnyBook) -> None:
    await paid(book)
    key = await accepted(book)
    assert await refusal(book, SHOP.at(pay_to="thief"), key) is RefusalReason.PAYEE_CHANGED
    assert await book.ledger.payments.attempt(key, 1) is None
    for spelled in ("https://MARKET.test:443/x", "https://market.test./x"):
        assert await refusal(book, SHOP.at(url=spelled, pay_to="thief")) is RefusalReason.PAYEE_CHANGED
    assert len(await known(book)) == 1


async def test_other_origins_have_payees_of_their_own(book: AnyBook) -> None:
    await paid(book)
    await paid(book, SHOP.at(url="https://market.test:8443/x", pay_to="other"))
    await paid(book, SHOP.at(url="https://other.test/x", pay_to="third"))
    assert len(await known(book)) == 3


async def test_what_one_agent_paid_is_known_to_every_agent(book: AnyBook) -> None:
    await paid(book)
    other = await open_book(book.ledger, "other")
    assert await refusal(other, SHOP.at(pay_to="thief")) is RefusalReason.PAYEE_CHANGED
    await paid(other)


async def test_a_payee_that_a_person_accepts_may_be_paid_as_well(book: AnyBook) -> None:
    await paid(book)
    accepting = (Network.DEVNET, "https://market.test:443/", "new till")
    assert await book.ledger.policies.accept_payee(*accepting)
    assert not await book.ledger.policies.accept_payee(*accepting)
    await paid(book, SHOP.at(pay_to="new till"))
    await paid(book)
    assert await refusal(book, SHOP.at(pay_to="thief")) is RefusalReason.PAYEE_CHANGED


async def test_a_payee_that_policy_names_may_be_paid_and_is_known_by_policy(book: AnyBook) -> None:
    await paid(book)
    await set_limits(book, payees=(NAMED,))
    await paid(book, SHOP.at(pay_to=NAMED))
    assert [row[2] for row in await known(book)] == ["first payment", "policy"]


async def test_an_interactive_agent_asks_about_another_payee_and_an_approval_makes_it_known(book: AnyBook) -> None:
    await paid(book)
    await set_limits(await interactive(book), auto_approve_atomic=10 * PRICE)
    key, shop = await accepted(book), SHOP.at(pay_to="new till")
    question = await asked(book, shop, key)
    assert "market.test:443 wants to be paid at new till; so far it was seller" in question.why
    assert len(await known(book)) == 1
    assert await decide(book, question, approve=True) is None
    await paid(book, shop, key)
    assert [row[1:] for row in await known(book)] == [("seller", "first payment"), ("new till", "approval")]
    await paid(book, shop)


async def test_a_payment_that_is_refused_makes_nobody_known(ledger: AnyLedger) -> None:
    book = await open_book(ledger, allowance=PRICE - 1)
    assert await refusal(book, SHOP.at(pay_to="thief")) is RefusalReason.ALLOWANCE_EXHAUSTED
    assert await known(book) == []


async def test_two_first_payments_at_once_to_the_same_payee_both_get_through(book: AnyBook) -> None:
    other = await open_book(book.ledger, "other")
    keys = [await accepted(each) for each in (book, other)]
    found = await asyncio.gather(reserve(book, key=keys[0]), reserve(other, key=keys[1]))
    assert all(isinstance(each, RecordedAttempt) for each in found)
    assert len(await known(book)) == 1


async def test_a_price_may_be_the_factor_times_the_last_one_paid_for_the_resource(book: AnyBook) -> None:
    await set_limits(book, price_factor=2)
    await paid(book)
    assert await refusal(book, SHOP.at(amount=2 * PRICE + 1)) is RefusalReason.PRICE_JUMP
    assert await refusal(book, SHOP.at(url=FEED + "?page=2", amount=2 * PRICE + 1)) is RefusalReason.PRICE_JUMP
    await paid(book, SHOP.at(amount=2 * PRICE))
    await paid(book, SHOP.at(amount=4 * PRICE))
    await paid(book, SHOP.at(amount=1))
    assert await refusal(book, SHOP.at(amount=3)) is RefusalReason.PRICE_JUMP


async def test_other_resources_have_prices_of_their_own(book: AnyBook) -> None:
    await set_limits(book, price_factor=1)
    await paid(book, SHOP.at(amount=1))
    await paid(book, SHOP.at(url=FEED + "/all"))
    post = await accepted(book, method="POST")
    await paid(book, key=post)
    other = await open_book(book.ledger, "other")
    await set_limits(other, price_factor=1)
    await paid(other)


async def test_a_payment_that_is_proven_dead_set_no_price(book: AnyBook) -> None:
    await set_limits(book, price_factor=1)
    await paid(book, SHOP.at(amount=1))
    assert await refusal(book) is RefusalReason.PRICE_JUMP
    await set_limits(book)
    dead = await paid(book, SHOP.at(amount=5 * PRICE))
    await book.ledger.payments.record_dead(dead.attempt_id, "expired_unsettled")
    await set_limits(book, price_factor=1)
    assert await refusal(book, SHOP.at(amount=2)) is RefusalReason.PRICE_JUMP


async def test_a_payee_is_known_on_its_network_only(book: AnyBook) -> None:
    await paid(book)
    offer = offer_of().model_copy(update={"network": Network.MAINNET, "pay_to": "till on mainnet"})
    key = await accepted(book)
    found = await book.ledger.payments.record_attempt(key, 1, book.session_id, signed_payment(offer=offer))
    assert isinstance(found, RecordedAttempt)
    assert await refusal(book, SHOP.at(pay_to="till on mainnet")) is RefusalReason.PAYEE_CHANGED
