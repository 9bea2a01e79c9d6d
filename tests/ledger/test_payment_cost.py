"""What a payment that goes well asks of the database: three short transactions, and few notifications."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from autopay.adapters.postgres import PostgresLedger
from autopay.adapters.postgres.database.notifier import CHANNEL, Notifier
from autopay.domain.payment.attempt import Opening, RecordedAttempt, SigningContext
from autopay.domain.payment.exchange import Receipt
from autopay.domain.payment.payment import Content
from autopay.domain.payment.steps import SettledAttempt
from autopay.domain.request import RequestResult, RequestStatus
from tests.ledger.books import JSON_REPLY, Book, settlement_of, signed_payment, spec_of
from tests.ledger.contract.test_requests import CHALLENGE

LONG_S = 3_600
PATIENCE_S = 30


@contextmanager
def statements(_: PostgresLedger) -> Iterator[list[str]]:
    """The statements of transactions while this is entered: the first word of each, without their commits."""
    asked: list[str] = []
    execute = psycopg.AsyncCursor.execute

    async def note(self: Any, query: Any, *arguments: Any, **options: Any) -> Any:
        word = str(query).split(maxsplit=1)[0]
        if word != "NOTIFY":
            asked.append(word)
        return await execute(self, query, *arguments, **options)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(psycopg.AsyncCursor, "execute", note)
        yield asked


async def first_run(book: Book, request_id: str) -> RecordedAttempt:
    """An attempt as the first run of a request records it."""
    known = Opening(terms_hash=spec_of(request_id).terms_hash(), challenge=CHALLENGE, breaker="CLOSED")
    context = SigningContext(opening=known, handed_over_next=True)
    record = book.ledger.payments.record_attempt
    attempt = await record(book.key(request_id), 1, book.session_id, signed_payment(), context)
    assert isinstance(attempt, RecordedAttempt), attempt
    return attempt


async def paid(book: Book, request_id: str = "") -> RecordedAttempt:
    """A payment from its acceptance to its end, nothing in its way."""
    attempt = await recorded(book, request_id or uuid4().hex)
    await answer(book, attempt)
    await end(book, attempt, await ended(book, attempt))
    return attempt


async def answer(book: Book, attempt: RecordedAttempt) -> None:
    """The seller answers with the content and a receipt."""
    reply = JSON_REPLY.model_copy(update={"receipt": Receipt(success=True, transaction="claim")})
    await book.ledger.payments.record_answer(attempt.attempt_id, reply, Content(http_status=200))


async def recorded(book: Book, request_id: str) -> RecordedAttempt:
    """The first run of a request that was just accepted."""
    assert await book.ledger.requests.accept(book.agent, spec_of(request_id), 1.0, 10_000) is None
    return await first_run(book, request_id)


async def ended(book: Book, attempt: RecordedAttempt) -> RequestResult:
    """How the attempt's request ends well."""
    result = await book.ledger.requests.result(attempt.request_key)
    return result.model_copy(update={"status": RequestStatus.DELIVERED})


async def end(book: Book, attempt: RecordedAttempt, result: RequestResult) -> None:
    """Book what settled, and end the request."""
    settled = SettledAttempt(attempt_id=attempt.attempt_id, settlement=settlement_of(attempt))
    await book.ledger.requests.close(attempt.request_key, result, settled)


async def test_a_payment_takes_three_transactions_of_thirteen_statements_with_their_commits(book: Book) -> None:
    await paid(book)  # the first to a payee asks for more
    assert await book.ledger.requests.accept(book.agent, spec_of("one"), 1.0, 10_000) is None
    with statements(book.ledger) as asked:
        attempt = await first_run(book, "one")
    assert asked == ["BEGIN", "SELECT", "SELECT", "WITH"]
    with statements(book.ledger) as asked:
        await answer(book, attempt)
    assert asked == ["BEGIN", "SELECT", "WITH"]
    result = await ended(book, attempt)
    with statements(book.ledger) as asked:
        await end(book, attempt, result)
    assert asked == ["BEGIN", "SELECT", "WITH"]


async def test_the_same_answer_and_the_same_end_again_write_nothing(book: Book) -> None:
    attempt = await recorded(book, "one")
    await answer(book, attempt)
    result = await ended(book, attempt)
    with statements(book.ledger) as asked:
        await answer(book, attempt)
    assert asked == ["BEGIN", "SELECT"]
    await end(book, attempt, result)
    with statements(book.ledger) as asked:
        await end(book, attempt, result)
    assert asked == ["BEGIN", "SELECT"]


async def test_what_is_written_together_is_told_in_the_order_of_its_causes(book: Book) -> None:
    before = len(await book.ledger.events.page())
    await paid(book)
    told = [each.kind for each in await book.ledger.events.page()][before:]
    assert [kind for kind in told if not kind.startswith("counterparties")] == [
        "api_request_logs.created",
        "transactions.created",
        "api_request_logs.changed",
        "transactions.changed",
        "api_request_logs.changed",
        "transactions.changed",
        "api_request_logs.changed",
    ]


# Notifications.


@asynccontextmanager
async def listening(url: str) -> AsyncIterator[psycopg.AsyncConnection]:
    """A connection that is notified of changes."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(f"LISTEN {CHANNEL}")
        yield connection


async def rings(connection: psycopg.AsyncConnection, timeout_s: float = 0) -> int:
    """How often it was notified; ends with the first notification when it may wait."""
    stop_after = 1 if timeout_s else None
    return len([each async for each in connection.notifies(timeout=timeout_s, stop_after=stop_after)])


async def test_a_change_that_may_wait_is_notified_with_the_next_that_may_not(
    ledger: PostgresLedger, database_url: str
) -> None:
    notifier = Notifier(ledger.database.engine)
    async with listening(database_url) as connection:
        for _ in range(10):
            notifier.notify(within_s=LONG_S)
        await asyncio.sleep(0)
        assert await rings(connection) == 0
        notifier.notify()
        assert await rings(connection, PATIENCE_S) == 1
        await notifier.close()
        assert await rings(connection) == 0


@pytest.mark.parametrize("within_s", [0, LONG_S])
async def test_a_ledger_that_is_closed_notifies_before(
    ledger: PostgresLedger, database_url: str, within_s: float
) -> None:
    notifier = Notifier(ledger.database.engine)
    async with listening(database_url) as connection:
        notifier.notify(within_s)
        await notifier.close()
        assert await rings(connection, PATIENCE_S) == 1
