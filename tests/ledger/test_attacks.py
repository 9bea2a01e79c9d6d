"""Ways to get more than was agreed out of the ledger's rules; docs/attacks.md has the whole table."""

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from temporalio.testing import ActivityEnvironment

from activities.fetch import FetchStep
from activities.known_attempts import KnownAttempts
from activities.submit import SubmitStep
from autopay.adapters.vault import Keyring, Vault
from autopay.adapters.x402.seller import HttpSeller
from autopay.domain.errors import IllegalTransition
from autopay.domain.money import Currency
from autopay.domain.payment.attempt import RecordedAttempt
from autopay.domain.payment.exchange import Reply, UnpaidReply
from autopay.domain.payment.notice import Announcement
from autopay.domain.payment.payment import Content, Verdict
from autopay.domain.payment.steps import AttemptRef, FreeContent, PaidBefore, PaymentOrder
from autopay.domain.refusal import RefusalReason, Refused
from autopay.domain.request import RequestStatus
from tests.ledger.books import PRICE, Book, offer_of, signed_payment, spec_of
from tests.ledger.terms import (
    accepted,
    as_owner_of_the_database,
    asked,
    decide,
    interactive,
    paid,
    refusal,
    reserve,
    set_limits,
)
from tests.ledger.test_fences import booked, forgotten
from tests.unit.till import OK, Till

FREE = UnpaidReply(reply=Reply(http_status=200, content_type="application/json", body=b"{}"))
PATIENCE = timedelta(seconds=8)


async def overtaken(database_url: str, slow: Coroutine[Any, Any, object], fast: Coroutine[Any, Any, object]) -> object:
    """What `slow` comes to, which waits for the agent's lock while `fast` is done; an exception is returned."""
    with psycopg.connect(database_url) as holder:
        holder.execute("SELECT 1 FROM agents FOR NO KEY UPDATE")
        waiting = asyncio.create_task(slow)
        deadline = datetime.now(UTC) + PATIENCE
        while not await _somebody_waits(database_url):
            assert datetime.now(UTC) < deadline
        await fast
    (found,) = await asyncio.gather(waiting, return_exceptions=True)
    return found


async def _somebody_waits(database_url: str) -> bool:
    query = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    async with await psycopg.AsyncConnection.connect(database_url) as other:
        return await (await other.execute(query)).fetchone() is not None


async def test_content_that_comes_free_while_a_signer_waits_for_its_turn_is_not_paid(
    book: Book, database_url: str
) -> None:
    key = await book.accepted()
    slow = book.ledger.payments.record_attempt(key, 1, book.session_id, signed_payment())
    found = await overtaken(database_url, slow, book.ledger.requests.record_plain(key, FREE))
    assert isinstance(found, IllegalTransition)
    assert await book.ledger.payments.attempt(key, 1) is None


async def test_a_request_that_ends_while_a_signer_waits_for_its_turn_is_not_paid(book: Book, database_url: str) -> None:
    key = await book.accepted()
    slow = book.ledger.payments.record_attempt(key, 1, book.session_id, signed_payment())
    found = await overtaken(database_url, slow, book.end(key, RequestStatus.REFUSED))
    assert isinstance(found, IllegalTransition)
    assert await book.ledger.payments.attempt(key, 1) is None


async def test_a_yes_that_was_used_is_good_for_another_attempt_within_its_time_only(
    book: Book, database_url: str
) -> None:
    await interactive(book)
    key = await accepted(book)
    assert await decide(book, await asked(book, key=key), approve=True) is None
    first = await paid(book, key=key)
    await book.ledger.payments.record_dead(first.attempt_id, "expired_unsettled")
    as_owner_of_the_database(database_url, "approvals", "expires_at = now() - interval '1 second'")
    assert await refusal(book, key=key, number=2) is RefusalReason.APPROVAL_EXPIRED


async def test_a_policy_holds_although_the_databases_clock_went_back(book: Book, database_url: str) -> None:
    as_owner_of_the_database(database_url, "policies", "set_at = now() + interval '1 hour'")
    await set_limits(book, per_request_atomic=PRICE - 1)
    assert await refusal(book) is RefusalReason.ABOVE_REQUEST_LIMIT
    await set_limits(book, per_request_atomic=PRICE)
    assert isinstance(await reserve(book), RecordedAttempt)


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ({"max_price_atomic": PRICE - 1}, RefusalReason.PRICE_ABOVE_MAXIMUM),
        ({"currency": Currency.CASH}, RefusalReason.UNSUPPORTED_ASSET),
    ],
)
async def test_an_offer_that_nobody_chose_keeps_the_callers_limits(
    book: Book, limit: dict[str, object], reason: RefusalReason
) -> None:
    assert await book.ledger.requests.accept(book.agent, spec_of("mine", **limit), 1.0, 100) is None
    found = await book.reserve(book.key("mine"))
    assert isinstance(found, Refused)
    assert found.reason is reason
    not_even_asked = await book.ledger.payments.permit(book.key("mine"), offer_of(), "program", [], "destination")
    assert not_even_asked == found


async def test_a_memo_that_the_seller_thinks_of_after_a_restore_gets_it_no_second_payment(book: Book) -> None:
    await booked(book, forgotten(book, memo="ours"))
    key = await book.accepted()
    fixed = offer_of(PRICE * 2).model_copy(update={"memo": "invoice 8"})
    found = await book.ledger.payments.permit(key, fixed, "program", ["invoice 8", "ours"], "elsewhere")
    assert found == PaidBefore(currency=Currency.USDC, amount_atomic=PRICE, transaction="lost")


async def not_asked(ref: AttemptRef) -> Verdict:
    """The chain, which nobody asks as long as sellers answer at once."""
    raise AssertionError(f"asked about attempt {ref.number}")


async def nobody(announcement: Announcement) -> None:
    """The agent, whom nobody tells."""
    raise AssertionError(f"told {announcement.agent}")


async def test_an_order_cannot_send_question_or_payment_anywhere_but_where_policy_looked(book: Book) -> None:
    vault, seller, activity = Vault(Keyring.generate()), HttpSeller(), ActivityEnvironment()
    async with Till().open(OK) as agreed, Till().open(OK) as other:
        spec = spec_of("mine", url=f"http://127.0.0.1:{agreed.port}/feed")
        assert await book.ledger.requests.accept(book.agent, spec, 1.0, 100) is None
        key = book.key("mine")
        sealed = vault.seal(b"payment", purpose="payment", row=f"{key}/1")
        recorded = await book.ledger.payments.record_attempt(key, 1, book.session_id, signed_payment(sealed=sealed))
        assert isinstance(recorded, RecordedAttempt)
        forged = PaymentOrder(
            agent=book.agent, request_id="mine", request_key=key, url=f"http://127.0.0.1:{other.port}/", method="POST"
        )
        assert isinstance(await activity.run(FetchStep(book.ledger.requests, seller, vault).fetch, forged), FreeContent)
        submitted = await activity.run(
            SubmitStep(book.ledger, seller, vault, not_asked, KnownAttempts(), 0, nobody).submit,
            AttemptRef(order=forged, number=1),
        )
    await seller.close()
    assert isinstance(submitted, Content)
    assert [line.split(b"\r\n")[0] for line in agreed.asked] == [b"GET /feed HTTP/1.1"] * 2
    assert other.asked == []
