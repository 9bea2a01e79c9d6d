"""A request whose content is here ends with the booking of its payment: both, or neither; and what is in flight."""

from typing import Any
from uuid import UUID

import pytest

from autopay.domain.errors import IllegalTransition
from autopay.domain.payment.attempt import RecordedAttempt
from autopay.domain.payment.exchange import Receipt
from autopay.domain.payment.payment import Content, NoAnswer, Rejected, SellerAnswer
from autopay.domain.payment.steps import SettledAttempt
from autopay.domain.request import RequestStatus
from autopay.domain.session import ClaimedPayment
from tests.ledger.books import PRICE, AnyBook, open_book, settlement_of, signed_payment
from tests.ledger.stores import AnyLedger


async def content_here(book: AnyBook) -> RecordedAttempt:
    """An attempt whose content came, with a receipt."""
    attempt = await book.recorded()
    await book.delivered(attempt)
    return attempt


async def close(
    book: AnyBook,
    attempt: RecordedAttempt,
    status: RequestStatus = RequestStatus.DELIVERED,
    attempt_id: UUID | None = None,
    **changes: Any,
) -> None:
    """End the attempt's request with the attempt's transfer, changed in this."""
    result = (await book.ledger.requests.result(attempt.request_key)).model_copy(update={"status": status})
    settlement = settlement_of(attempt).model_copy(update=changes)
    settled = SettledAttempt(attempt_id=attempt_id or attempt.attempt_id, settlement=settlement)
    await book.ledger.requests.close(attempt.request_key, result, settled)


async def state(book: AnyBook, attempt: RecordedAttempt) -> tuple[str, bool, object, object]:
    """The attempt's status, whether its request has ended, how, and its payment."""
    record = await book.ledger.requests.get(attempt.request_key)
    payment = await book.ledger.payments.recall(attempt.request_key)
    return await book.status(attempt), record.closed, record.result, payment.attempts


async def test_what_settled_is_booked_and_the_request_ends_in_one_call(book: AnyBook) -> None:
    attempt = await content_here(book)
    assert (await state(book, attempt))[:2] == ("SUCCESS", False)
    await close(book, attempt)
    assert (await state(book, attempt))[:2] == ("VERIFIED", True)
    result = await book.ledger.requests.result(attempt.request_key)
    assert result.status is RequestStatus.DELIVERED
    (recalled,) = (await book.ledger.payments.recall(attempt.request_key)).attempts
    assert recalled.signature == settlement_of(attempt).signature
    booked = await book.ledger.sessions.booked_up_to(book.session_id, 120)
    assert booked.settled_atomic == PRICE
    assert (await book.ledger.sessions.in_flight(book.session_id)).amount_atomic == 0


@pytest.mark.parametrize("status", [RequestStatus.DELIVERED, RequestStatus.UNDELIVERED, RequestStatus.FAILED])
async def test_the_same_again_changes_nothing_whatever_end_it_names(book: AnyBook, status: RequestStatus) -> None:
    attempt = await content_here(book)
    await close(book, attempt)
    before = await state(book, attempt)
    await close(book, attempt, status)
    assert await state(book, attempt) == before


async def test_what_is_booked_already_is_no_obstacle_to_the_end(book: AnyBook) -> None:
    attempt = await content_here(book)
    await book.settled(attempt)
    await close(book, attempt)
    assert (await state(book, attempt))[:2] == ("VERIFIED", True)


async def test_a_request_that_ended_without_the_booking_is_booked_later(book: AnyBook) -> None:
    """Another run closed it; what this one saw on chain is the same transfer, and older news by then."""
    attempt = await content_here(book)
    await book.settled(attempt)
    await book.end(attempt.request_key, RequestStatus.DELIVERED)
    before = await state(book, attempt)
    await close(book, attempt)
    assert await state(book, attempt) == before


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"amount_atomic": PRICE + 1}, id="more"),
        pytest.param({"amount_atomic": PRICE - 1}, id="less"),
        pytest.param({"mint": "another mint"}, id="another-mint"),
        pytest.param({"payer": "another key"}, id="another-payer"),
        pytest.param({"destination": "another account"}, id="another-destination"),
    ],
)
async def test_another_transfer_books_nothing_and_ends_nothing(book: AnyBook, changes: dict[str, Any]) -> None:
    attempt = await content_here(book)
    before = await state(book, attempt)
    with pytest.raises(IllegalTransition, match="the chain shows"):
        await close(book, attempt, **changes)
    assert await state(book, attempt) == before
    await close(book, attempt)
    assert (await state(book, attempt))[:2] == ("VERIFIED", True)


async def test_the_attempt_of_another_request_books_nothing_and_ends_nothing(book: AnyBook) -> None:
    attempt, other = await content_here(book), await content_here(book)
    before = await state(book, attempt), await state(book, other)
    with pytest.raises(IllegalTransition, match="is not of"):
        await close(book, attempt, attempt_id=other.attempt_id)
    with pytest.raises(IllegalTransition, match="never recorded"):
        await close(book, attempt, attempt_id=UUID(int=1))
    assert (await state(book, attempt), await state(book, other)) == before


async def test_a_transaction_that_is_booked_for_another_attempt_ends_nothing(book: AnyBook) -> None:
    attempt, other = await content_here(book), await content_here(book)
    await close(book, other)
    before = await state(book, attempt)
    with pytest.raises(IllegalTransition, match="booked for another attempt"):
        await close(book, attempt, signature=settlement_of(other).signature)
    assert await state(book, attempt) == before


async def test_what_is_verified_as_another_transaction_ends_nothing(book: AnyBook) -> None:
    attempt = await content_here(book)
    await book.settled(attempt)
    before = await state(book, attempt)
    with pytest.raises(IllegalTransition, match="is VERIFIED as"):
        await close(book, attempt, signature="another signature")
    assert await state(book, attempt) == before


@pytest.mark.parametrize(
    "status", [RequestStatus.FAILED, RequestStatus.REFUSED, RequestStatus.FREE, RequestStatus.WAITING]
)
async def test_an_end_that_a_settled_payment_forbids_books_nothing_either(book: AnyBook, status: RequestStatus) -> None:
    attempt = await content_here(book)
    before = await state(book, attempt)
    with pytest.raises(IllegalTransition, match="cannot end as"):
        await close(book, attempt, status)
    assert await state(book, attempt) == before


async def test_a_request_without_content_is_not_delivered_by_its_payment(book: AnyBook) -> None:
    attempt = await book.recorded()
    await book.answered(attempt, NoAnswer(reason="lost"))
    before = await state(book, attempt)
    with pytest.raises(IllegalTransition, match="has no content"):
        await close(book, attempt)
    assert await state(book, attempt) == before
    await close(book, attempt, RequestStatus.UNDELIVERED)
    assert (await state(book, attempt))[:2] == ("VERIFIED", True)


async def test_an_attempt_that_was_proven_dead_is_not_booked_with_the_end(book: AnyBook) -> None:
    attempt = await content_here(book)
    await book.ledger.payments.record_dead(attempt.attempt_id, "expired_unsettled")
    before = await state(book, attempt)
    with pytest.raises(IllegalTransition):
        await close(book, attempt)
    assert await state(book, attempt) == before


SUCCESS = Receipt(success=True, transaction="claim")


@pytest.mark.parametrize(
    ("answer", "receipt", "claimed"),
    [
        pytest.param(None, None, None, id="not-sent"),
        pytest.param(NoAnswer(reason="lost"), None, None, id="no-answer"),
        pytest.param(Content(http_status=200), None, None, id="content-without-a-receipt"),
        pytest.param(Content(http_status=200), SUCCESS, "claim", id="content-with-a-receipt"),
        pytest.param(Rejected(http_status=402, reason="?"), SUCCESS, "claim", id="rejected-with-a-receipt"),
        pytest.param(
            Content(http_status=200), Receipt(success=True, transaction=None), None, id="a-receipt-without-a-signature"
        ),
        pytest.param(
            Content(http_status=200), Receipt(success=False, transaction="claim"), None, id="a-receipt-of-a-failure"
        ),
        pytest.param(
            Content(http_status=200), Receipt(success=True, transaction="no sign!"), None, id="a-signature-that-is-none"
        ),
    ],
)
async def test_what_receipts_call_settled_is_told_apart_from_the_rest_of_what_is_in_flight(
    book: AnyBook, answer: SellerAnswer | None, receipt: Receipt | None, claimed: str | None
) -> None:
    key = await book.accepted()
    payment = signed_payment(blockhash_slot=77, newest_prior_signature="older")
    attempt = await book.ledger.payments.record_attempt(key, 1, book.session_id, payment)
    assert isinstance(attempt, RecordedAttempt)
    if answer is not None:
        await book.answered(attempt, answer, receipt=receipt)
    found = await book.ledger.sessions.in_flight(book.session_id)
    assert found.amount_atomic == PRICE
    expected = ClaimedPayment(
        signature=claimed or "", amount_atomic=PRICE, blockhash_slot=77, newest_prior_signature="older"
    )
    assert found.claimed == ((expected,) if claimed else ())


@pytest.mark.parametrize("outcome", ["seen", "settled", "dead"])
async def test_what_the_chain_has_shown_is_no_more_in_flight(book: AnyBook, outcome: str) -> None:
    attempt, other = await content_here(book), await content_here(book)
    if outcome == "dead":
        await book.ledger.payments.record_dead(attempt.attempt_id, "expired_unsettled")
    else:
        final = outcome == "settled"
        await book.ledger.payments.record_seen(attempt.attempt_id, settlement_of(attempt), final=final)
    found = await book.ledger.sessions.in_flight(book.session_id)
    assert found.amount_atomic == other.amount_atomic
    assert [each.signature for each in found.claimed] == ["claim"]


async def test_of_several_claims_the_newest_counts_and_the_oldest_payment_is_first(ledger: AnyLedger) -> None:
    book, other = await open_book(ledger), await open_book(ledger, "other")
    first, second = await book.recorded(amount=PRICE), await book.recorded(amount=2 * PRICE)
    for attempt, claim in ((second, "b1"), (first, "a1"), (second, "b2")):
        receipt = Receipt(success=True, transaction=claim)
        await book.answered(attempt, Content(http_status=200), receipt=receipt)
    found = await ledger.sessions.in_flight(book.session_id)
    assert [(each.signature, each.amount_atomic) for each in found.claimed] == [("a1", PRICE), ("b2", 2 * PRICE)]
    assert found.amount_atomic == 3 * PRICE
    assert (await ledger.sessions.in_flight(other.session_id)).amount_atomic == 0
