"""What came back: the seller's claims, its content, and the chain's facts."""

import asyncio
from uuid import uuid4

import pytest

from autopay.domain.errors import IllegalTransition
from autopay.domain.payment.exchange import Receipt, Reply, UnpaidReply
from autopay.domain.payment.payment import Conflict, Content, Dead, NoAnswer, Rejected, Settled
from autopay.domain.request import RequestStatus
from tests.ledger.books import JSON_REPLY, AnyBook, settlement_of, stored

SILENCE = Reply(http_status=0)


async def test_the_first_send_leaves_pending_and_the_second_makes_retrying(book: AnyBook) -> None:
    attempt = await book.recorded()
    assert await book.ledger.payments.record_sending(attempt.attempt_id) == 1
    assert await book.status(attempt) == "PENDING"
    assert await book.ledger.payments.record_sending(attempt.attempt_id) == 2
    assert await book.status(attempt) == "RETRYING"


async def test_a_dead_attempt_is_never_sent(book: AnyBook) -> None:
    attempt = await book.recorded()
    await book.ledger.payments.record_dead(attempt.attempt_id, "expired_unsettled")
    with pytest.raises(IllegalTransition, match="cannot be sent"):
        await book.ledger.payments.record_sending(attempt.attempt_id)


@pytest.mark.parametrize("answer", [NoAnswer(reason="time-out"), Rejected(http_status=402, reason="no"), Conflict()])
async def test_an_unclear_answer_makes_retrying(book: AnyBook, answer: NoAnswer | Rejected | Conflict) -> None:
    attempt = await book.recorded()
    await book.answered(attempt, answer, SILENCE)
    assert await book.status(attempt) == "RETRYING"
    payment = await book.ledger.payments.recall(attempt.request_key)
    assert payment.last is not None
    assert (payment.last.last_answer, payment.conflict) == (answer.kind, isinstance(answer, Conflict))


async def test_content_without_a_receipt_says_nothing_about_the_money(book: AnyBook) -> None:
    attempt = await book.recorded()
    await book.answered(attempt, Content(http_status=200))
    assert await book.status(attempt) == "RETRYING"
    assert (await book.ledger.requests.result(attempt.request_key)).status is RequestStatus.DELIVERED


async def test_a_receipt_of_success_is_a_claim_and_no_sighting(book: AnyBook) -> None:
    attempt = await book.recorded()
    await book.delivered(attempt)
    found = await book.ledger.payments.attempt(attempt.request_key, 1)
    assert found is not None
    assert (found.status, found.claims) == ("SUCCESS", ("claim",))
    payment = await book.ledger.payments.recall(attempt.request_key)
    assert payment.last is not None
    assert (payment.last.seen, payment.last.signature, payment.last.outcome) == (False, None, None)
    assert (await book.ledger.sessions.booked_up_to(book.session_id, 10**9)).settled_atomic == 0
    assert (await book.ledger.sessions.in_flight(book.session_id)).amount_atomic == attempt.amount_atomic


async def test_claims_keep_their_order_and_are_listed_once(book: AnyBook) -> None:
    attempt = await book.recorded()
    for named in ("b", "a", "b", None, "not a signature", "x" * 200):
        receipt = Receipt(success=False, transaction=named, error_reason="settlement_pending")
        await book.answered(attempt, Rejected(http_status=402, reason="pending"), receipt=receipt)
    found = await book.ledger.payments.attempt(attempt.request_key, 1)
    assert found is not None
    assert found.claims == ("b", "a")


async def test_delivered_content_is_stored_once_and_survives_a_later_error(book: AnyBook) -> None:
    attempt = await book.recorded()
    await book.delivered(attempt)
    await book.answered(attempt, Rejected(http_status=500, reason="broken"), Reply(http_status=500, body=b"oops"))
    other = Reply(http_status=200, content_type="text/plain", body=b"other")
    await book.answered(attempt, Content(http_status=200), other)
    assert await book.ledger.requests.content(attempt.request_key) == stored("application/json", JSON_REPLY.body)
    result = await book.ledger.requests.result(attempt.request_key)
    assert (result.status, result.http_status) == (RequestStatus.DELIVERED, 200)
    assert (await book.ledger.payments.recall(attempt.request_key)).delivered


async def test_a_plain_answer_with_content_is_free(book: AnyBook) -> None:
    key = await book.accepted()
    await book.ledger.requests.record_plain(key, UnpaidReply(reply=JSON_REPLY))
    assert await book.ledger.requests.content(key) == stored("application/json", JSON_REPLY.body)
    assert (await book.ledger.requests.result(key)).status is RequestStatus.FREE


async def test_seen_at_confirmed_is_success_and_at_finalized_verified(book: AnyBook) -> None:
    attempt = await book.recorded()
    settlement = settlement_of(attempt)
    await book.ledger.payments.record_seen(attempt.attempt_id, settlement, final=False)
    assert await book.status(attempt) == "SUCCESS"
    assert (await book.ledger.requests.result(attempt.request_key)).transaction == settlement.signature
    assert (await book.ledger.sessions.in_flight(book.session_id)).amount_atomic == 0
    await book.ledger.payments.record_seen(attempt.attempt_id, settlement, final=True)
    payment = await book.ledger.payments.recall(attempt.request_key)
    assert payment.last is not None
    assert payment.last.outcome == Settled(settlement=settlement)


async def test_older_and_repeated_sightings_change_nothing_after_verified(book: AnyBook) -> None:
    attempt = await book.recorded()
    settlement = await book.settled(attempt)
    for final in (True, False):
        await book.ledger.payments.record_seen(attempt.attempt_id, settlement, final=final)
    await book.answered(attempt, NoAnswer(reason="late"), SILENCE)
    assert await book.status(attempt) == "VERIFIED"


async def test_a_verified_payment_never_fails(book: AnyBook) -> None:
    attempt = await book.recorded()
    await book.settled(attempt)
    with pytest.raises(IllegalTransition, match="VERIFIED → FAILED"):
        await book.ledger.payments.record_dead(attempt.attempt_id, "expired_unsettled")


@pytest.mark.parametrize("final", [True, False])
async def test_a_dead_payment_never_comes_back(book: AnyBook, final: bool) -> None:
    attempt = await book.recorded()
    await book.ledger.payments.record_dead(attempt.attempt_id, "expired_unsettled")
    with pytest.raises(IllegalTransition, match="FAILED →"):
        await book.ledger.payments.record_seen(attempt.attempt_id, settlement_of(attempt), final=final)


async def test_a_dead_payment_keeps_its_first_reason(book: AnyBook) -> None:
    attempt = await book.recorded()
    await book.ledger.payments.record_dead(attempt.attempt_id, "landed_with_error")
    await book.ledger.payments.record_dead(attempt.attempt_id, "expired_unsettled")
    payment = await book.ledger.payments.recall(attempt.request_key)
    assert payment.last is not None
    assert payment.last.outcome == Dead(reason="landed_with_error")


async def test_content_for_a_dead_payment_is_kept(book: AnyBook) -> None:
    attempt = await book.recorded()
    await book.ledger.payments.record_sending(attempt.attempt_id)
    await book.ledger.payments.record_dead(attempt.attempt_id, "expired_unsettled")
    await book.ledger.payments.record_answer(attempt.attempt_id, JSON_REPLY, Content(http_status=200))
    payment = await book.ledger.payments.recall(attempt.request_key)
    assert (payment.delivered, await book.status(attempt)) == (True, "FAILED")


async def test_another_transfer_than_recorded_is_refused(book: AnyBook) -> None:
    attempt = await book.recorded()
    for change in ({"amount_atomic": 1}, {"mint": "other"}, {"destination": "thief"}, {"payer": "other"}):
        with pytest.raises(IllegalTransition, match="recorded is"):
            await book.ledger.payments.record_seen(
                attempt.attempt_id, settlement_of(attempt).model_copy(update=change), final=True
            )


async def test_one_transaction_settles_one_attempt(book: AnyBook) -> None:
    first, second = await book.recorded(), await book.recorded()
    settlement = await book.settled(first)
    with pytest.raises(IllegalTransition, match="booked for another attempt"):
        await book.ledger.payments.record_seen(second.attempt_id, settlement, final=True)


async def test_what_is_booked_counts_settlements_up_to_the_slot(book: AnyBook) -> None:
    for slot in (100, 110, 120):
        await book.settled(await book.recorded(), slot=slot)
    await book.recorded()
    booked = [
        (await book.ledger.sessions.booked_up_to(book.session_id, slot)).settled_atomic for slot in (99, 100, 119, 120)
    ]
    assert booked == [0, 1_000, 2_000, 3_000]
    assert (await book.ledger.sessions.booked_up_to(book.session_id, 0)).allowance_atomic == 1_000_000


async def test_answers_and_outcomes_at_once_do_not_deadlock(book: AnyBook) -> None:
    attempt = await book.recorded()
    await asyncio.gather(
        *(book.delivered(attempt) for _ in range(5)),
        *(
            book.ledger.payments.record_seen(attempt.attempt_id, settlement_of(attempt), final=final)
            for final in (True, False)
        ),
        *(book.reserve(attempt.request_key) for _ in range(5)),
        *(book.ledger.sessions.current(book.agent, attempt.currency) for _ in range(5)),
    )
    assert await book.status(attempt) == "VERIFIED"


async def test_an_answer_that_did_not_come_leaves_the_status_of_the_one_before(book: AnyBook) -> None:
    attempt = await book.recorded()
    await book.answered(attempt, Rejected(http_status=402, reason="no"), Reply(http_status=402))
    await book.answered(attempt, NoAnswer(reason="time-out"), SILENCE)
    assert (await book.ledger.payments.recall(attempt.request_key)).http_status == 402


async def test_a_claim_is_the_requests_transaction_until_the_chain_shows_another(book: AnyBook) -> None:
    attempt = await book.recorded()
    await book.delivered(attempt)
    assert (await book.ledger.requests.result(attempt.request_key)).transaction == "claim"
    settlement = await book.settled(attempt)
    assert (await book.ledger.requests.result(attempt.request_key)).transaction == settlement.signature


async def test_nothing_happens_to_an_attempt_that_was_never_recorded(book: AnyBook) -> None:
    attempt = (await book.recorded()).model_copy(update={"attempt_id": uuid4()})
    for call in (
        book.ledger.payments.record_sending(attempt.attempt_id),
        book.ledger.payments.record_dead(attempt.attempt_id, "expired_unsettled"),
        book.ledger.payments.record_seen(attempt.attempt_id, settlement_of(attempt), final=True),
    ):
        with pytest.raises(IllegalTransition, match="never recorded"):
            await call


async def test_a_refusal_from_before_settlement_is_no_answer_to_what_is_asked_since(book: AnyBook) -> None:
    attempt = await book.recorded()
    await book.answered(attempt, Conflict(), SILENCE)
    await book.settled(attempt)
    answers = []
    for _ in range(2):
        await book.ledger.payments.record_sending(attempt.attempt_id)
        last = (await book.ledger.payments.recall(attempt.request_key)).last
        assert last is not None
        answers.append((last.settled_sends, last.last_answer, last.refused_since_settled))
        await book.answered(attempt, Conflict(), SILENCE)
    assert answers[0] == (1, None, False)
    assert answers[1][1:] == ("conflict", True)
