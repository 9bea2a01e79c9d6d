"""A submit shows that its worker lives while it waits for the ledger, so that no other worker sends the same bytes."""

import asyncio

import psycopg
import pytest
from temporalio.testing import ActivityEnvironment

from activities import submit
from activities.known_attempts import KnownAttempts
from activities.submit import SubmitStep
from autopay.adapters.vault import Keyring, Vault
from autopay.adapters.x402.seller import HttpSeller
from autopay.domain.payment.attempt import RecordedAttempt
from autopay.domain.payment.payment import Content
from autopay.domain.payment.steps import AttemptRef, PaymentOrder
from tests.ledger.books import Book, signed_payment, spec_of
from tests.ledger.test_attacks import nobody, not_asked
from tests.unit.till import OK, Till

PATIENCE_S = 5


async def test_a_submit_that_waits_for_its_rows_sends_heartbeats(
    book: Book, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submit, "HEARTBEAT_S", 0.01)
    vault, seller, activity, heard = Vault(Keyring.generate()), HttpSeller(), ActivityEnvironment(), asyncio.Event()
    activity.on_heartbeat = lambda *_: heard.set()
    step = SubmitStep(book.ledger, seller, vault, not_asked, KnownAttempts(), 0, nobody)
    async with Till().open(OK) as till, await psycopg.AsyncConnection.connect(database_url) as other:
        url, key = f"http://127.0.0.1:{till.port}/feed", book.key("mine")
        assert await book.ledger.requests.accept(book.agent, spec_of("mine", url=url), 1.0, 100) is None
        sealed = vault.seal(b"payment", purpose="payment", row=f"{key}/1")
        recorded = await book.ledger.payments.record_attempt(key, 1, book.session_id, signed_payment(sealed=sealed))
        assert isinstance(recorded, RecordedAttempt)
        order = PaymentOrder(agent=book.agent, request_id="mine", request_key=key, url=url)
        await other.execute("SELECT id FROM transactions FOR UPDATE")
        sending = asyncio.create_task(activity.run(step.submit, AttemptRef(order=order, number=1)))
        async with asyncio.timeout(PATIENCE_S):
            await heard.wait()
        assert till.asked == []
        await other.rollback()
        assert isinstance(await sending, Content)
    await seller.close()
