"""Write-ahead: the money is reserved and the payment recorded before anything leaves, once, within every limit."""

import asyncio
import os
import random
import secrets
from uuid import uuid4

import pytest

from autopay.domain.errors import IllegalTransition, UnknownRequest
from autopay.domain.money import Currency
from autopay.domain.payment.attempt import RecordedAttempt
from autopay.domain.refusal import RefusalReason, Refused
from autopay.domain.request import RequestStatus
from tests.ledger.books import PRICE, AnyBook, offer_of, open_book, signed_payment, spec_of
from tests.ledger.stores import AnyLedger


async def test_a_recorded_attempt_has_all_that_the_chain_can_be_asked(book: AnyBook) -> None:
    key = await book.accepted()
    signed = signed_payment(newest_prior_signature="older")
    attempt = await book.ledger.payments.record_attempt(key, 1, book.session_id, signed)
    assert isinstance(attempt, RecordedAttempt)
    assert attempt.is_new
    assert attempt.model_copy(update={"is_new": False}) == await book.ledger.payments.attempt(key, 1)
    for name in ("memo", "message_hash", "buyer_signature", "blockhash_slot", "last_valid_block_height", "sealed"):
        assert getattr(attempt, name) == getattr(signed, name)
    assert (attempt.agent, attempt.authority, attempt.status) == ("buyer", "delegate", "PENDING")
    assert (attempt.amount_atomic, attempt.newest_prior_signature, attempt.claims) == (PRICE, "older", ())


async def test_a_second_call_returns_the_first_payment_whatever_it_brings(book: AnyBook) -> None:
    key = await book.accepted()
    first = await book.recorded(key, amount=PRICE)
    assert await book.reserve(key, 1, amount=5 * PRICE) == first
    assert len(await book.ledger.payments.open_attempts()) == 1


async def test_a_recorded_attempt_is_returned_even_when_its_session_has_ended(book: AnyBook) -> None:
    first = await book.recorded()
    await book.ledger.sessions.end(book.session_id)
    assert await book.reserve(first.request_key) == first


async def test_concurrent_calls_for_one_attempt_record_one_payment(book: AnyBook) -> None:
    key = await book.accepted()
    results = await asyncio.gather(*(book.reserve(key) for _ in range(20)))
    assert len({result.message_hash for result in results if isinstance(result, RecordedAttempt)}) == 1
    assert len(await book.ledger.payments.open_attempts()) == 1


async def test_concurrent_requests_never_exceed_allowance_or_payment_limit(ledger: AnyLedger) -> None:
    seed = int(os.environ.get("AUTOPAY_TEST_SEED") or secrets.randbits(32))
    chance = random.Random(seed)  # noqa: S311
    for round_number in range(6):
        allowance, tx_limit = chance.randrange(1, 20 * PRICE), chance.randrange(1, 12)
        book = await open_book(ledger, f"agent-{round_number}", allowance=allowance, tx_limit=tx_limit)
        keys = [await book.accepted() for _ in range(16)]
        amounts = [chance.randrange(1, 3 * PRICE) for _ in keys]
        results = await asyncio.gather(
            *(book.reserve(key, 1, amount) for key, amount in zip(keys, amounts, strict=True))
        )
        paid = [result for result in results if isinstance(result, RecordedAttempt)]
        refused = {result.reason for result in results if isinstance(result, Refused)}
        total = sum(attempt.amount_atomic for attempt in paid)
        assert total <= allowance, f"seed {seed}"
        assert len(paid) <= tx_limit, f"seed {seed}"
        assert refused <= {RefusalReason.ALLOWANCE_EXHAUSTED, RefusalReason.SESSION_TX_LIMIT}, f"seed {seed}"
        smallest = min(
            (amount for amount, r in zip(amounts, results, strict=True) if isinstance(r, Refused)), default=0
        )
        assert not refused or len(paid) == tx_limit or total + smallest > allowance, f"seed {seed}"


async def test_the_allowance_may_be_spent_to_the_last_unit(ledger: AnyLedger) -> None:
    book = await open_book(ledger, allowance=2 * PRICE)
    await book.recorded()
    await book.recorded()
    refused = await book.reserve(await book.accepted(), amount=1)
    assert isinstance(refused, Refused)
    assert refused.reason is RefusalReason.ALLOWANCE_EXHAUSTED
    assert refused.message == "0.000001 USDC is asked, 0 USDC is left to the session"


async def test_a_dead_attempt_releases_its_money_and_its_place(ledger: AnyLedger) -> None:
    book = await open_book(ledger, allowance=PRICE, tx_limit=1)
    first = await book.recorded()
    await ledger.payments.record_dead(first.attempt_id, "expired_unsettled")
    second = await book.recorded(first.request_key, number=2)
    assert second.number == 2


async def test_a_settled_attempt_keeps_its_money_and_its_place(ledger: AnyLedger) -> None:
    book = await open_book(ledger, tx_limit=1)
    await book.settled(await book.recorded())
    refused = await book.reserve(await book.accepted())
    assert isinstance(refused, Refused)
    assert refused.reason is RefusalReason.SESSION_TX_LIMIT


async def test_an_ended_session_signs_nothing_by_the_databases_clock(ledger: AnyLedger) -> None:
    book = await open_book(ledger, duration_s=0)
    refused = await book.reserve(await book.accepted())
    assert isinstance(refused, Refused)
    assert refused.reason is RefusalReason.SESSION_EXPIRED


async def test_a_revoked_session_signs_nothing(book: AnyBook) -> None:
    await book.ledger.sessions.end(book.session_id)
    refused = await book.reserve(await book.accepted())
    assert isinstance(refused, Refused)
    assert refused.reason is RefusalReason.SESSION_MISSING


@pytest.mark.parametrize("state", ["PENDING", "RETRYING", "SUCCESS", "VERIFIED"])
async def test_nothing_new_is_signed_while_an_earlier_attempt_is_not_proven_dead(book: AnyBook, state: str) -> None:
    first = await book.recorded()
    if state in ("RETRYING", "SUCCESS"):
        await book.ledger.payments.record_sending(first.attempt_id)
        await book.ledger.payments.record_sending(first.attempt_id)
    if state == "SUCCESS":
        await book.delivered(first)
    if state == "VERIFIED":
        await book.settled(first)
    assert await book.status(first) == state
    with pytest.raises(IllegalTransition, match="must wait until it is proven dead"):
        await book.reserve(first.request_key, 2)


async def test_attempts_are_numbered_without_gaps(book: AnyBook) -> None:
    with pytest.raises(IllegalTransition, match="cannot follow"):
        await book.reserve(await book.accepted(), 2)


async def test_no_more_than_three_attempts_are_signed(book: AnyBook) -> None:
    key = await book.accepted()
    for number in (1, 2, 3):
        attempt = await book.recorded(key, number)
        await book.ledger.payments.record_dead(attempt.attempt_id, "expired_unsettled")
    with pytest.raises(IllegalTransition, match="cannot follow"):
        await book.reserve(key, 4)


async def test_what_was_delivered_is_never_signed_again_even_when_its_payment_is_dead(book: AnyBook) -> None:
    attempt = await book.recorded()
    await book.delivered(attempt)
    await book.ledger.payments.record_dead(attempt.attempt_id, "expired_unsettled")
    with pytest.raises(IllegalTransition, match="is delivered"):
        await book.reserve(attempt.request_key, 2)


async def test_nothing_is_signed_for_a_request_that_has_ended(book: AnyBook) -> None:
    key = await book.accepted()
    await book.end(key, RequestStatus.REFUSED)
    with pytest.raises(IllegalTransition, match="has ended"):
        await book.reserve(key)


async def test_a_request_that_ends_at_the_same_moment_is_either_ended_or_paid(book: AnyBook) -> None:
    for _ in range(20):
        key = await book.accepted()
        await asyncio.gather(book.reserve(key), book.end(key, RequestStatus.REFUSED), return_exceptions=True)
        record = await book.ledger.requests.get(key)
        assert record.closed is (await book.ledger.payments.attempt(key, 1) is None)


async def test_two_requests_never_share_bytes(book: AnyBook) -> None:
    signed = signed_payment()
    first, second = await book.accepted(), await book.accepted()
    await book.ledger.payments.record_attempt(first, 1, book.session_id, signed)
    with pytest.raises(IllegalTransition, match="another payment has the bytes"):
        await book.ledger.payments.record_attempt(second, 1, book.session_id, signed)


async def test_a_session_pays_for_its_own_agent_only(book: AnyBook) -> None:
    other = await open_book(book.ledger, "other")
    with pytest.raises(IllegalTransition, match="is not for session"):
        await other.ledger.payments.record_attempt(await other.accepted(), 1, book.session_id, signed_payment())


async def test_an_unknown_request_cannot_be_paid(book: AnyBook) -> None:
    with pytest.raises(UnknownRequest):
        await book.reserve("ap_unknown")


async def test_the_request_shows_price_payee_and_newest_attempt(book: AnyBook) -> None:
    attempt = await book.recorded()
    result = await book.ledger.requests.result(attempt.request_key)
    assert (result.status, result.price_atomic, result.pay_to) == (RequestStatus.UNRESOLVED, 1_000, "seller")


async def test_a_session_pays_only_the_hosts_that_it_was_granted_for(ledger: AnyLedger) -> None:
    book = await open_book(ledger, hosts=("*.elsewhere.test", "market.test:8443"))
    refused = await book.reserve(await book.accepted())
    assert isinstance(refused, Refused)
    assert refused.reason is RefusalReason.HOST_NOT_ALLOWED
    allowed = await open_book(ledger, "other", hosts=("market.test",))
    assert isinstance(await allowed.reserve(await allowed.accepted()), RecordedAttempt)


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ({"max_price_atomic": PRICE - 1}, RefusalReason.PRICE_ABOVE_MAXIMUM),
        ({"currency": Currency.CASH}, RefusalReason.UNSUPPORTED_ASSET),
    ],
    ids=["maximum", "currency"],
)
async def test_the_callers_own_limits_hold_where_money_is_reserved(
    book: AnyBook, limit: dict[str, object], reason: RefusalReason
) -> None:
    assert await book.ledger.requests.accept(book.agent, spec_of("limited", **limit), 1.0, 10) is None
    refused = await book.reserve(book.key("limited"))
    assert isinstance(refused, Refused)
    assert refused.reason is reason
    permitted = await book.ledger.payments.permit(book.key("limited"), offer_of(), "program", [], "destination")
    assert permitted == refused


async def test_a_request_is_paid_from_a_session_that_there_is(book: AnyBook) -> None:
    refused = await book.ledger.payments.record_attempt(await book.accepted(), 1, uuid4(), signed_payment())
    assert isinstance(refused, Refused)
    assert refused.reason is RefusalReason.SESSION_MISSING


@pytest.mark.parametrize("change", [{"mint": "other"}, {"currency": Currency.CASH}], ids=["mint", "currency"])
async def test_a_session_pays_in_its_own_currency_and_mint_only(book: AnyBook, change: dict[str, object]) -> None:
    signed = signed_payment(offer=offer_of().model_copy(update=change))
    with pytest.raises(IllegalTransition, match="is not for session"):
        await book.ledger.payments.record_attempt(await book.accepted(), 1, book.session_id, signed)


async def test_a_request_that_may_be_paid_is_permitted_and_reserves_nothing(book: AnyBook) -> None:
    key = await book.accepted()
    assert await book.ledger.payments.permit(key, offer_of(), "program", [], "destination") is None
    assert await book.ledger.payments.attempt(key, 1) is None
    assert (await book.ledger.sessions.in_flight(book.session_id)).amount_atomic == 0
