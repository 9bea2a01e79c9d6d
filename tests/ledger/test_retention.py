"""Old content goes; the request, its payment and the content's hash stay."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from autopay.adapters.postgres.maintenance.maintenance import Prunable
from autopay.domain.errors import ContentPruned
from autopay.domain.request import RequestStatus
from tests.ledger.books import JSON_REPLY, Book, stored

SOON = datetime.now(UTC) + timedelta(days=1)
SIZE = len(JSON_REPLY.body)


async def delivered(book: Book, *, ended: bool = True) -> str:
    """A request that was paid, delivered and, as a rule, ended; its key."""
    attempt = await book.recorded()
    await book.delivered(attempt)
    await book.settled(attempt)
    if ended:
        await book.end(attempt.request_key, RequestStatus.DELIVERED)
    return attempt.request_key


async def prune(book: Book, before: datetime = SOON) -> list[Prunable]:
    """Prune to the end; what each batch was."""
    return [batch async for batch in book.ledger.maintenance.prune(before)]


async def test_a_pruned_body_is_gone_and_everything_else_stays(book: Book, database_url: str) -> None:
    key = await delivered(book)
    query = "SELECT to_jsonb(r) - 'body' - 'success_payload' - 'body_pruned_at' FROM api_request_logs AS r"
    result, paid = await book.ledger.requests.result(key), (await book.ledger.reports.payments()).rows
    with psycopg.connect(database_url, autocommit=True) as connection:
        before = connection.execute(query).fetchall()
        assert await prune(book) == [Prunable(requests=1, body_bytes=SIZE)]
        assert connection.execute(query).fetchall() == before
        gone = "SELECT body, success_payload, body_sha256 IS NOT NULL FROM api_request_logs"
        assert connection.execute(gone).fetchall() == [(None, None, True)]
    with pytest.raises(ContentPruned, match=r"thrown away.* stays paid.*on 20\d\d-"):
        await book.ledger.requests.content(key)
    assert await book.ledger.requests.result(key) == result
    assert (await book.ledger.reports.payments()).rows == paid
    assert (await book.ledger.payments.recall(key)).delivered


async def test_what_is_open_or_young_or_was_delivered_late_is_kept(book: Book, database_url: str) -> None:
    still_open = await delivered(book, ended=False)
    young, late = await delivered(book), await delivered(book)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(
            "UPDATE api_request_logs SET closed_at = now() - interval '1 year' WHERE x402_request_id = %s", (late,)
        )
    assert await prune(book, datetime.now(UTC) - timedelta(days=30)) == []
    for key in (still_open, young, late):
        assert await book.ledger.requests.content(key) == stored("application/json", JSON_REPLY.body)
    assert await prune(book) == [Prunable(requests=2, body_bytes=2 * SIZE)]
    assert await book.ledger.requests.content(still_open) is not None


async def test_pruning_goes_in_batches_and_a_second_time_finds_nothing(book: Book) -> None:
    for _ in range(5):
        await delivered(book)
    assert await book.ledger.maintenance.prunable(SOON) == Prunable(requests=5, body_bytes=5 * SIZE)
    batches = book.ledger.maintenance.prune(SOON, 2)
    assert [batch.requests async for batch in batches] == [2, 2, 1]
    assert await prune(book) == []
    assert await book.ledger.maintenance.prunable(SOON) == Prunable(requests=0, body_bytes=0)


async def test_a_request_that_somebody_holds_is_left_for_the_next_time(book: Book, database_url: str) -> None:
    held, free = await delivered(book), await delivered(book)
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await connection.execute("SELECT 1 FROM api_request_logs WHERE x402_request_id = %s FOR UPDATE", (held,))
        assert [batch.requests for batch in await prune(book)] == [1]
    with pytest.raises(ContentPruned):
        await book.ledger.requests.content(free)
    assert await book.ledger.requests.content(held) is not None
    assert [batch.requests for batch in await prune(book)] == [1]
