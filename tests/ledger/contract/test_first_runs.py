"""A first run records its payment with what its agent knew of the request: the ledger compares, and begins it."""

from typing import Any
from uuid import uuid4

import pytest

from autopay.domain.errors import LedgerFenced, OrderDiffers
from autopay.domain.money import Currency
from autopay.domain.payment.attempt import Opening, RecordedAttempt, SigningContext
from autopay.domain.payment.steps import PaidBefore
from autopay.domain.policy.policy import Awaiting
from autopay.domain.refusal import RefusalReason, Refused
from autopay.domain.request import RequestSpec, RequestStatus
from tests.ledger.books import PRICE, AnyBook, new_session, offer_of, open_book, signed_payment, spec_of
from tests.ledger.contract.test_requests import CHALLENGE
from tests.ledger.stores import AnyLedger
from tests.ledger.terms import interactive

ALLOWANCE = 10 * PRICE


def opening(spec: RequestSpec, **changes: object) -> SigningContext:
    """What a first run of that request knows."""
    known = Opening(terms_hash=spec.terms_hash(), challenge=CHALLENGE, breaker="CLOSED")
    return SigningContext.model_validate({"opening": known, "handed_over_next": True} | changes)


async def waiting(book: AnyBook, request_id: str = "one", **changes: object) -> RequestSpec:
    """A request that was accepted and not begun."""
    spec = spec_of(request_id, **changes)
    assert await book.ledger.requests.accept(book.agent, spec, 1.0, 10_000) is None
    return spec


async def sign(
    book: AnyBook, context: SigningContext, request_id: str = "one", **changes: Any
) -> RecordedAttempt | PaidBefore | Awaiting | Refused:
    """Record the first attempt of a request."""
    record = book.ledger.payments.record_attempt
    return await record(book.key(request_id), 1, book.session_id, signed_payment(**changes), context)


async def signed(book: AnyBook, context: SigningContext, request_id: str = "one") -> RecordedAttempt:
    """A first attempt that was recorded."""
    attempt = await sign(book, context, request_id)
    assert isinstance(attempt, RecordedAttempt), attempt
    return attempt


async def in_queue(book: AnyBook, request_id: str = "one") -> bool:
    """Whether the request waits still."""
    found = [order.request_id for order in await book.ledger.requests.not_begun(book.agent, [request_id, "never"])]
    assert found in ([], [request_id])
    return bool(found)


async def nothing_was_recorded(book: AnyBook, request_id: str = "one") -> bool:
    """Whether the request is as it was accepted."""
    result = await book.ledger.requests.result(book.key(request_id))
    is_untouched = (result.status, result.http_status, result.attempts) == (RequestStatus.WAITING, None, 0)
    return is_untouched and await in_queue(book, request_id) and not await book.ledger.payments.open_attempts()


async def test_what_waits_is_told_as_it_was_asked(book: AnyBook) -> None:
    spec = await waiting(book, method="POST", body_hash="0" * 64)
    (order,) = await book.ledger.requests.not_begun(book.agent, ["one"])
    assert (order.agent, order.request_id, order.request_key) == (book.agent, "one", book.key("one"))
    assert (order.url, order.method, order.accepted) == (spec.url, "POST", None)


async def test_nobody_elses_requests_are_told_of(book: AnyBook) -> None:
    await waiting(book)
    other = await open_book(book.ledger, "other")
    assert list(await book.ledger.requests.not_begun(other.agent, ["one"])) == []
    assert list(await book.ledger.requests.not_begun(book.agent, [])) == []


async def test_a_first_run_begins_its_request_with_its_payment(book: AnyBook) -> None:
    spec = await waiting(book)
    assert await nothing_was_recorded(book)
    attempt = await signed(book, opening(spec))
    assert attempt.is_new
    assert not await in_queue(book)
    result = await book.ledger.requests.result(book.key("one"))
    assert (result.status, result.http_status, result.attempts) == (RequestStatus.UNRESOLVED, 402, 1)
    backlog = await book.ledger.requests.backlog(book.agent)
    assert ([each.request_id for each in backlog.queue], [each.request_id for each in backlog.open]) == ([], ["one"])


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"url": "https://market.test/api/market-feed?x=2"}, id="another-url"),
        pytest.param({"url": "https://elsewhere.test/api/market-feed?x=1"}, id="another-host"),
        pytest.param({"max_price_atomic": PRICE + 1}, id="another-price"),
        pytest.param({"max_price_atomic": None}, id="any-price"),
        pytest.param({"method": "POST"}, id="another-method"),
        pytest.param({"currency": Currency.CASH}, id="another-currency"),
        pytest.param({"body_hash": "0" * 64}, id="another-body"),
    ],
)
async def test_a_first_run_of_other_terms_pays_nothing_and_leaves_no_trace(
    book: AnyBook, changes: dict[str, object]
) -> None:
    recorded = await waiting(book, max_price_atomic=PRICE)
    other = RequestSpec.model_validate(recorded.model_dump() | changes)
    with pytest.raises(OrderDiffers):
        await sign(book, opening(other))
    assert await nothing_was_recorded(book)
    assert (await signed(book, opening(recorded))).number == 1


@pytest.mark.parametrize(("handed_over", "sends"), [(True, 1), (False, 0)], ids=["handed-over-next", "not-yet"])
async def test_a_send_is_counted_with_the_recording_when_it_is_next(
    book: AnyBook, handed_over: bool, sends: int
) -> None:
    spec = await waiting(book)
    attempt = await signed(book, opening(spec, handed_over_next=handed_over))
    (recalled,) = (await book.ledger.payments.recall(attempt.request_key)).attempts
    assert recalled.sends == sends
    assert await book.status(attempt) == "PENDING"
    assert await book.ledger.payments.record_sending(attempt.attempt_id) == sends + 1
    assert await book.status(attempt) == ("RETRYING" if handed_over else "PENDING")


@pytest.mark.parametrize("delegated", [None, ALLOWANCE, 0], ids=["unread", "as-before", "nothing-left"])
async def test_a_second_call_returns_the_first_payment_and_counts_nothing(
    ledger: AnyLedger, delegated: int | None
) -> None:
    book = await open_book(ledger, allowance=ALLOWANCE)
    spec = await waiting(book)
    first = await signed(book, opening(spec))
    again = await sign(book, opening(spec, delegated_atomic=delegated), amount_atomic=5 * PRICE)
    assert again == first.model_copy(update={"is_new": False})
    (recalled,) = (await ledger.payments.recall(first.request_key)).attempts
    assert recalled.sends == 1
    assert len(await ledger.payments.open_attempts()) == 1


async def test_a_payment_that_is_recorded_is_returned_to_an_order_of_other_terms_too(book: AnyBook) -> None:
    """The attempt is the ledger's: what the order says of it is not looked at any more."""
    first = await signed(book, opening(await waiting(book)))
    other = spec_of("one", url="https://elsewhere.test/")
    assert await sign(book, opening(other)) == first.model_copy(update={"is_new": False})


@pytest.mark.parametrize(
    ("delegated", "is_fenced"),
    [
        pytest.param(None, False, id="unread"),
        pytest.param(ALLOWANCE, False, id="more-than-is-left"),
        pytest.param(ALLOWANCE - PRICE, False, id="what-is-left"),
        pytest.param(ALLOWANCE - PRICE - 1, True, id="one-unit-less"),
        pytest.param(0, True, id="nothing"),
    ],
)
async def test_a_chain_that_leaves_less_than_the_ledger_knows_of_raises_the_fence(
    ledger: AnyLedger, delegated: int | None, is_fenced: bool
) -> None:
    book = await open_book(ledger, allowance=ALLOWANCE)
    earlier = await book.recorded(amount=PRICE)
    spec = await waiting(book)
    if not is_fenced:
        assert (await signed(book, opening(spec, delegated_atomic=delegated))).is_new
        return
    with pytest.raises(LedgerFenced):
        await sign(book, opening(spec, delegated_atomic=delegated))
    assert await in_queue(book)
    assert [each.attempt_id for each in await ledger.payments.open_attempts()] == [earlier.attempt_id]
    other = await open_book(ledger, "other")
    with pytest.raises(LedgerFenced):
        await other.reserve(await other.accepted())
    assert await book.reserve(earlier.request_key) == earlier, "what was recorded before is told behind a fence too"
    await ledger.fence.lift("looked at")
    assert (await signed(book, opening(spec))).is_new


async def test_a_payment_proven_dead_is_not_missed_on_chain(ledger: AnyLedger) -> None:
    book = await open_book(ledger, allowance=ALLOWANCE)
    await ledger.payments.record_dead((await book.recorded()).attempt_id, "expired_unsettled")
    spec = await waiting(book)
    assert (await signed(book, opening(spec, delegated_atomic=ALLOWANCE))).is_new


async def test_a_session_that_does_not_pay_raises_no_fence(ledger: AnyLedger) -> None:
    """It was revoked: that the chain allows it nothing is as it must be."""
    book = await open_book(ledger, allowance=ALLOWANCE)
    spec = await waiting(book)
    await ledger.sessions.end(book.session_id)
    assert isinstance(await sign(book, opening(spec, delegated_atomic=0)), Refused)
    other = await open_book(ledger, "other")
    assert isinstance(await other.reserve(await other.accepted()), RecordedAttempt)


async def with_another_session(book: AnyBook, which: str) -> dict[str, Any]:
    """The agent has one more session, of other addresses; what a payment by the session that pays says of it."""
    session_id = uuid4()
    await book.ledger.sessions.create(
        new_session(
            session_id,
            agent=book.agent,
            currency=Currency.CASH if which in ("another currency's", "a revoked one's") else Currency.USDC,
            source_account="its source",
            owner="its owner",
            authority="its delegate",
        )
    )
    if which == "a revoked one's":
        await book.ledger.sessions.end(session_id)
    if which == "an older one's":
        book.session_id = session_id
        return {"source_account": "its source"}
    return {}


SESSIONS = {
    "the one that pays": ("owner", "delegate", "source"),
    "an older one's": ("owner", "delegate", "source"),
    "another currency's": ("its owner", "its delegate", "its source"),
    "a revoked one's": ("its owner", "its delegate", "its source"),
}


@pytest.mark.parametrize("which", SESSIONS)
async def test_an_offer_that_names_an_address_of_any_session_of_the_agent_is_refused(book: AnyBook, which: str) -> None:
    pays_from = await with_another_session(book, which) if which != "the one that pays" else {}
    for number, address in enumerate(SESSIONS[which]):
        for field in ("pay_to", "fee_payer"):
            name = f"{number}-{field}"
            spec = await waiting(book, name)
            offer = offer_of().model_copy(update={field: address})
            refused = await sign(book, opening(spec), name, offer=offer, **pays_from)
            assert isinstance(refused, Refused), (field, address)
            assert refused.reason is RefusalReason.PAYEE_INVALID
            assert await nothing_was_recorded(book, name)


async def test_addresses_of_another_agents_sessions_are_no_reason_to_refuse(book: AnyBook) -> None:
    other = await open_book(book.ledger, "other")
    await with_another_session(other, "another currency's")
    spec = await waiting(book)
    offer = offer_of().model_copy(update={"pay_to": "its owner", "fee_payer": "its delegate"})
    assert isinstance(await sign(book, opening(spec), offer=offer), RecordedAttempt)


async def test_asking_a_person_takes_the_request_from_the_queue(book: AnyBook) -> None:
    await interactive(book)
    spec = await waiting(book)
    assert isinstance(await sign(book, opening(spec)), Awaiting)
    assert not await in_queue(book)
    assert await book.ledger.payments.attempt(book.key("one"), 1) is None
    backlog = await book.ledger.requests.backlog(book.agent)
    assert ([each.request_id for each in backlog.open], set(backlog.asked)) == (["one"], {"one"})


async def test_asking_a_person_before_anything_is_signed_takes_the_request_from_the_queue_too(book: AnyBook) -> None:
    await interactive(book)
    await waiting(book)
    permitted = await book.ledger.payments.permit(book.key("one"), offer_of(), "program", [], "destination")
    assert isinstance(permitted, Awaiting)
    assert not await in_queue(book)


async def test_a_request_that_is_refused_waits_until_it_is_closed(book: AnyBook) -> None:
    spec = await waiting(book, max_price_atomic=PRICE - 1)
    assert isinstance(await sign(book, opening(spec)), Refused)
    assert await nothing_was_recorded(book)
    await book.end(book.key("one"), RequestStatus.REFUSED)
    assert not await in_queue(book)
