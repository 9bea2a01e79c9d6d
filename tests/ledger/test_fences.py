"""A ledger that may have forgotten payments signs nothing, and recognises what was paid when it comes again."""

from uuid import uuid4

import pytest

from autopay.adapters.postgres import PostgresLedger
from autopay.domain.errors import IllegalTransition
from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.payment.payment import Settlement
from autopay.domain.payment.steps import PaidBefore
from autopay.domain.reconcile.restored import ForgottenPayment
from autopay.domain.request import RequestStatus
from tests.ledger.books import PRICE, Book, offer_of, open_book, signed_payment

MEMO = "6d656d6f"


@pytest.fixture
async def book(ledger: PostgresLedger) -> Book:
    return await open_book(ledger)


def forgotten(book: Book, memo: str | None = MEMO, signature: str = "lost", amount: int = PRICE) -> ForgottenPayment:
    """A payment on chain that no attempt explains."""
    settlement = Settlement(
        signature=signature, slot=50, payer="delegate", destination="destination", mint="mint", amount_atomic=amount
    )
    return ForgottenPayment(
        session_id=book.session_id,
        network=Network.DEVNET,
        currency=Currency.USDC,
        settlement=settlement,
        source_account="source",
        message_hash=uuid4().hex * 2,
        memo=memo,
    )


async def booked(book: Book, *payments: ForgottenPayment) -> None:
    """A restore, its reconciliation, and the end of the fence."""
    await book.ledger.fence.set("restored")
    for payment in payments:
        assert await book.ledger.reconciliation.book_forgotten(payment)
    await book.ledger.fence.lift("reconciled")


async def test_a_second_fence_changes_nothing_and_the_first_height_stands(book: Book) -> None:
    await book.ledger.fence.set("first")
    await book.ledger.fence.set("second")
    assert await book.ledger.fence.note_height(1_000) == 1_000
    assert await book.ledger.fence.note_height(2_000) == 1_000
    fence = await book.ledger.fence.current()
    assert fence is not None
    assert (fence.reason, fence.height) == ("first", 1_000)
    await book.ledger.fence.lift("reconciled")
    assert await book.ledger.fence.current() is None
    with pytest.raises(IllegalTransition):
        await book.ledger.fence.lift("again")


async def test_a_forgotten_payment_is_booked_once_and_counts_as_spent(book: Book) -> None:
    payment = forgotten(book)
    await book.ledger.fence.set("restored")
    assert await book.ledger.reconciliation.book_forgotten(payment)
    assert not await book.ledger.reconciliation.book_forgotten(payment)
    assert (await book.ledger.reports.spent(book.agent))[Currency.USDC] == PRICE
    assert (await book.ledger.sessions.booked_up_to(book.session_id, 100)).settled_atomic == PRICE


async def test_nothing_is_booked_as_forgotten_without_a_fence(book: Book) -> None:
    with pytest.raises(IllegalTransition):
        await book.ledger.reconciliation.book_forgotten(forgotten(book))


async def test_a_request_whose_payment_was_forgotten_is_not_paid_again(book: Book) -> None:
    await booked(book, forgotten(book))
    key = await book.accepted()
    found = await book.ledger.payments.permit(key, offer_of(), "program", ["other", MEMO], "destination")
    assert found == PaidBefore(currency=Currency.USDC, amount_atomic=PRICE, transaction="lost")
    assert await book.ledger.payments.permit(key, offer_of(), "program", ["other", MEMO], "destination") == found
    await book.end(key, RequestStatus.UNDELIVERED)
    other = await book.accepted()
    assert await book.ledger.payments.permit(other, offer_of(), "program", ["a", "b"], "destination") is None


async def test_an_attempt_that_was_booked_as_forgotten_meanwhile_is_not_recorded(book: Book) -> None:
    key = await book.accepted()
    await booked(book, forgotten(book))
    found = await book.ledger.payments.record_attempt(key, 1, book.session_id, signed_payment(memo=MEMO))
    assert isinstance(found, PaidBefore)
    assert await book.ledger.payments.attempt(key, 1) is None


async def test_a_memo_that_the_seller_fixed_is_one_requests_and_for_the_same_terms_only(book: Book) -> None:
    await booked(book, forgotten(book, memo="invoice 7"))
    fixed = offer_of().model_copy(update={"memo": "invoice 7"})
    dearer = fixed.model_copy(update={"amount_atomic": PRICE + 1})
    first, second = await book.accepted(), await book.accepted()
    assert await book.ledger.payments.permit(first, dearer, "program", ["invoice 7"], "destination") is None
    assert await book.ledger.payments.permit(first, fixed, "program", ["invoice 7"], "elsewhere") is None
    assert isinstance(
        await book.ledger.payments.permit(first, fixed, "program", ["invoice 7"], "destination"), PaidBefore
    )
    assert await book.ledger.payments.permit(second, fixed, "program", ["invoice 7"], "destination") is None
