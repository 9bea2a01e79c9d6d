"""A person's approvals: asked once, decided once, used once, and good for exactly their terms and their time."""

import asyncio

import pytest

from autopay.domain.payment.attempt import RecordedAttempt
from autopay.domain.phase import Phase
from autopay.domain.policy.policy import Awaiting, Decision
from autopay.domain.refusal import RefusalReason, Refused
from autopay.domain.request import RequestStatus
from tests.ledger.books import PRICE, AnyBook, open_book
from tests.ledger.contract.conftest import Store
from tests.ledger.stores import AnyLedger
from tests.ledger.terms import (
    SHOP,
    accepted,
    approval,
    asked,
    decide,
    interactive,
    paid,
    refusal,
    reserve,
    set_limits,
)


@pytest.fixture
async def asking(book: AnyBook) -> AnyBook:
    """A book whose agent asks a person about everything."""
    return await interactive(book)


async def test_a_question_is_put_once_for_the_same_terms(asking: AnyBook) -> None:
    key = await accepted(asking)
    first, again = await asked(asking, key=key), await asked(asking, key=key)
    assert first == again
    (row,) = await asking.ledger.policies.approvals(asking.agent)
    assert (row.approval_id, row.status, row.request_key) == (first.approval_id, "PENDING", key)
    assert (row.terms.pay_to, row.terms.amount_atomic, row.terms.program) == ("seller", PRICE, "token program")
    assert row.terms_hash == row.terms.hash() == first.terms_hash
    assert await asking.ledger.payments.attempt(key, 1) is None


async def test_a_question_put_by_many_at_once_is_one(asking: AnyBook) -> None:
    key = await accepted(asking)
    found = await asyncio.gather(*(reserve(asking, key=key) for _ in range(8)))
    assert {each.approval_id for each in found if isinstance(each, Awaiting)} == {
        row.approval_id for row in await asking.ledger.policies.approvals()
    }
    assert len(await asking.ledger.policies.approvals()) == 1


async def test_a_yes_lets_exactly_that_payment_through_and_is_used_up_with_it(asking: AnyBook) -> None:
    key = await accepted(asking)
    question = await asked(asking, key=key)
    assert await decide(asking, question, approve=True) is None
    await paid(asking, key=key)
    assert (await approval(asking, question.approval_id)).status == "CONSUMED"


async def test_a_no_refuses_it_and_stands(asking: AnyBook) -> None:
    key = await accepted(asking)
    question = await asked(asking, key=key)
    for _ in range(2):
        assert await decide(asking, question, approve=False) is None
    assert await decide(asking, question, approve=True) is RefusalReason.APPROVAL_DENIED
    assert await refusal(asking, key=key) is RefusalReason.APPROVAL_DENIED


async def test_a_yes_can_be_taken_back_until_something_is_signed_by_it(asking: AnyBook) -> None:
    key = await accepted(asking)
    question = await asked(asking, key=key)
    for _ in range(2):
        assert await decide(asking, question, approve=True) is None
    assert await decide(asking, question, approve=False) is None
    assert await refusal(asking, key=key) is RefusalReason.APPROVAL_DENIED
    other = await accepted(asking)
    used = await asked(asking, key=other)
    assert await decide(asking, used, approve=True) is None
    await paid(asking, key=other)
    assert await decide(asking, used, approve=False) is RefusalReason.APPROVAL_DENIED
    assert (await approval(asking, used.approval_id)).status == "CONSUMED"


async def test_a_word_on_terms_that_nobody_was_asked_about_is_refused(asking: AnyBook) -> None:
    question = await asked(asking)
    other = question.model_copy(update={"terms_hash": "0" * 64})
    assert await decide(asking, other, approve=True) is RefusalReason.TERMS_DIFFER
    unknown = question.model_copy(update={"approval_id": asking.session_id})
    assert await decide(asking, unknown, approve=True) is RefusalReason.TERMS_DIFFER
    assert (await approval(asking, question.approval_id)).status == "PENDING"


@pytest.mark.parametrize("change", [{"amount": PRICE - 1}, {"pay_to": "other"}])
async def test_a_changed_offer_needs_an_approval_of_its_own(asking: AnyBook, change: dict[str, object]) -> None:
    key = await accepted(asking)
    question = await asked(asking, key=key)
    assert await decide(asking, question, approve=True) is None
    other = await asked(asking, SHOP.at(**change), key)
    assert other.approval_id != question.approval_id
    assert (await approval(asking, question.approval_id)).status == "APPROVED"
    await paid(asking, key=key)


async def test_two_requests_cannot_use_one_approval(asking: AnyBook) -> None:
    for _ in range(6):
        approved, other = await accepted(asking), await accepted(asking)
        assert await decide(asking, await asked(asking, key=approved), approve=True) is None
        found = await asyncio.gather(reserve(asking, key=approved), reserve(asking, key=other))
        assert isinstance(found[0], RecordedAttempt)
        assert isinstance(found[1], Awaiting)


async def test_the_same_request_twice_at_once_is_recorded_once(asking: AnyBook) -> None:
    key = await accepted(asking)
    question = await asked(asking, key=key)
    assert await decide(asking, question, approve=True) is None
    found = await asyncio.gather(*(reserve(asking, key=key) for _ in range(6)))
    ids = {each.attempt_id for each in found if isinstance(each, RecordedAttempt)}
    assert len(ids) == 1
    assert len(found) == sum(isinstance(each, RecordedAttempt) for each in found)


async def test_an_approval_is_not_used_up_by_a_payment_that_cannot_be_reserved(ledger: AnyLedger) -> None:
    book = await interactive(await open_book(ledger, tx_limit=1))
    key = await accepted(book)
    question = await asked(book, key=key)
    assert await decide(book, question, approve=True) is None
    blocker = await accepted(book)
    assert await decide(book, await asked(book, key=blocker), approve=True) is None
    attempt = await paid(book, key=blocker)
    assert await refusal(book, key=key) is RefusalReason.SESSION_TX_LIMIT
    assert (await approval(book, question.approval_id)).status == "APPROVED"
    await book.ledger.payments.record_dead(attempt.attempt_id, "expired_unsettled")
    await paid(book, key=key)


async def test_no_approval_lifts_a_limit_that_was_set_after_it(asking: AnyBook) -> None:
    key = await accepted(asking)
    assert await decide(asking, await asked(asking, key=key), approve=True) is None
    await set_limits(asking, per_request_atomic=PRICE - 1)
    assert await refusal(asking, key=key) is RefusalReason.ABOVE_REQUEST_LIMIT


async def test_a_question_that_nobody_answered_in_time_is_refused(asking: AnyBook, store: Store) -> None:
    key = await accepted(asking)
    question = await asked(asking, key=key)
    store.expire_questions()
    assert await asking.ledger.policies.approvals(asking.agent) == []
    assert await decide(asking, question, approve=True) is RefusalReason.APPROVAL_EXPIRED
    assert await refusal(asking, key=key) is RefusalReason.APPROVAL_EXPIRED
    assert (await approval(asking, question.approval_id)).status == "EXPIRED"
    assert await decide(asking, question, approve=False) is RefusalReason.APPROVAL_EXPIRED


async def test_a_yes_is_good_for_as_long_as_the_question_was(asking: AnyBook, store: Store) -> None:
    key = await accepted(asking)
    assert await decide(asking, await asked(asking, key=key), approve=True) is None
    store.expire_questions()
    assert await refusal(asking, key=key) is RefusalReason.APPROVAL_EXPIRED


async def test_a_question_is_good_for_as_long_as_policy_says(asking: AnyBook) -> None:
    await set_limits(asking, approval_expires_s=90)
    (row,) = [await approval(asking, (await asked(asking)).approval_id)]
    assert (row.expires_at - row.created_at).total_seconds() == 90


async def test_an_approval_whose_payment_is_proven_dead_counts_again_for_the_same_terms(asking: AnyBook) -> None:
    key = await accepted(asking)
    question = await asked(asking, key=key)
    assert await decide(asking, question, approve=True) is None
    first = await paid(asking, key=key)
    await asking.ledger.payments.record_dead(first.attempt_id, "expired_unsettled")
    other = await reserve(asking, SHOP.at(amount=PRICE + 1), key, number=2)
    assert isinstance(other, Awaiting)
    second = await paid(asking, key=key, number=2)
    assert second.attempt_id != first.attempt_id


async def test_a_request_that_has_ended_waits_for_nobody(asking: AnyBook) -> None:
    key = await accepted(asking)
    await asked(asking, key=key)
    await asking.end(key, RequestStatus.REFUSED)
    assert await asking.ledger.policies.approvals(asking.agent) == []
    assert len(await asking.ledger.policies.approvals(asking.agent, undecided=False)) == 1


async def test_what_is_said_of_a_decision_that_comes_too_late(asking: AnyBook, store: Store) -> None:
    """The same words from every store."""

    async def told(question: Awaiting, *, approve: bool = True) -> str:
        row = await approval(asking, question.approval_id)
        decision = Decision(approval_id=row.approval_id, terms_hash=row.terms_hash, approve=approve)
        refused = await asking.ledger.policies.decide(decision)
        assert refused is not None
        return refused.message

    denied = await asked(asking)
    assert await decide(asking, denied, approve=False) is None
    assert await told(denied) == "it was decided before: DENIED"
    withdrawn = await asked(asking)
    await asking.ledger.agents.set_phase(asking.agent, Phase.FULL)
    at = (await approval(asking, withdrawn.approval_id)).decided_at
    for approve in (True, False):
        said = await told(withdrawn, approve=approve)
        assert said == f"the question was withdrawn at {at:%F %T}: the agent's phase was changed"
    await asking.ledger.agents.set_phase(asking.agent, Phase.INTERACTIVE)
    late = await asked(asking)
    store.expire_questions()
    expired_at = (await approval(asking, late.approval_id)).expires_at
    assert await told(late) == f"the question expired at {expired_at:%F %T}"


async def test_questions_are_listed_by_agent_oldest_first(asking: AnyBook) -> None:
    other = await interactive(await open_book(asking.ledger, "other"))
    mine = [await asked(asking), await asked(asking)]
    theirs = await asked(other)
    rows = await asking.ledger.policies.approvals(asking.agent)
    assert [row.approval_id for row in rows] == [each.approval_id for each in mine]
    assert [row.approval_id for row in await asking.ledger.policies.approvals()][-1] == theirs.approval_id


async def test_an_agent_that_may_act_alone_by_now_needs_no_answer(asking: AnyBook) -> None:
    key = await accepted(asking)
    await asked(asking, key=key)
    await asking.ledger.agents.set_phase(asking.agent, Phase.FULL)
    await paid(asking, key=key)


async def test_a_question_is_withdrawn_by_a_phase_that_asks_nobody_and_can_be_asked_again(asking: AnyBook) -> None:
    key = await accepted(asking)
    first = await asked(asking, key=key)
    (withdrawn,) = await asking.ledger.agents.set_phase(asking.agent, Phase.FULL)
    assert withdrawn.approval_id == first.approval_id
    assert (await approval(asking, first.approval_id)).is_withdrawn
    assert await asking.ledger.policies.approvals(asking.agent) == []
    assert await decide(asking, first, approve=True) is RefusalReason.APPROVAL_EXPIRED
    assert await asking.ledger.agents.set_phase(asking.agent, Phase.INTERACTIVE) == []
    again = await asked(asking, key=key)
    assert again.approval_id != first.approval_id
    assert await decide(asking, again, approve=True) is None
    await paid(asking, key=key)


async def test_up_to_the_amount_that_needs_no_approval_nobody_is_asked(asking: AnyBook) -> None:
    await set_limits(asking, auto_approve_atomic=PRICE)
    await paid(asking)
    assert (
        "0.001001 USDC is asked; up to 0.001 USD needs no approval"
        in (await asked(asking, SHOP.at(amount=PRICE + 1))).why
    )


async def test_a_no_and_a_payment_at_the_same_moment_end_in_one_of_the_two(asking: AnyBook) -> None:
    for _ in range(10):
        key = await accepted(asking)
        question = await asked(asking, key=key)
        assert await decide(asking, question, approve=True) is None
        found, denied = await asyncio.gather(reserve(asking, key=key), decide(asking, question, approve=False))
        status = (await approval(asking, question.approval_id)).status
        if isinstance(found, RecordedAttempt):
            assert (status, denied) == ("CONSUMED", RefusalReason.APPROVAL_DENIED)
        else:
            assert isinstance(found, Refused)
            assert (status, denied, found.reason) == ("DENIED", None, RefusalReason.APPROVAL_DENIED)


async def test_a_yes_and_a_no_at_the_same_moment_end_as_no(asking: AnyBook) -> None:
    for _ in range(10):
        key = await accepted(asking)
        question = await asked(asking, key=key)
        await asyncio.gather(decide(asking, question, approve=True), decide(asking, question, approve=False))
        assert (await approval(asking, question.approval_id)).status == "DENIED"
        assert await refusal(asking, key=key) is RefusalReason.APPROVAL_DENIED
