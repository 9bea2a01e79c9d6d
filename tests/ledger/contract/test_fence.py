"""Nothing is signed behind a fence; what was recorded before it is sent and resolved."""

import pytest

from autopay.domain.errors import LedgerFenced
from autopay.domain.payment.attempt import RecordedAttempt
from tests.ledger.books import AnyBook, offer_of

MEMO = "6d656d6f"


async def test_nothing_is_signed_behind_a_fence(book: AnyBook) -> None:
    key = await book.accepted()
    await book.ledger.fence.set("restored from a backup")
    with pytest.raises(LedgerFenced, match="restored from a backup"):
        await book.reserve(key)
    with pytest.raises(LedgerFenced):
        await book.ledger.payments.permit(key, offer_of(), "program", [MEMO], "destination")
    await book.ledger.fence.lift("reconciled")
    assert isinstance(await book.reserve(key), RecordedAttempt)


async def test_what_was_recorded_before_the_fence_is_still_sent_and_resolved(book: AnyBook) -> None:
    attempt = await book.recorded()
    await book.ledger.fence.set("restored")
    assert await book.ledger.payments.record_sending(attempt.attempt_id) == 1
    await book.settled(attempt)
    assert await book.status(attempt) == "VERIFIED"
