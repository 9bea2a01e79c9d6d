"""What came back: the seller's claims, its content, and the chain's facts."""

import hashlib

import psycopg
import pytest

from autopay.domain.payment.exchange import Receipt, Reply, StoredContent
from autopay.domain.payment.payment import Content, Rejected
from tests.ledger.books import Book

SILENCE = Reply(http_status=0)


async def test_a_resend_records_how_long_it_waited(book: Book, database_url: str) -> None:
    attempt = await book.recorded()
    for _ in range(3):
        await book.ledger.payments.record_sending(attempt.attempt_id)
    with psycopg.connect(database_url) as connection:
        query = "SELECT sends, backoff_delay >= 0, retry_count, retry_attempts FROM transactions, api_request_logs"
        assert connection.execute(query).fetchone() == (3, True, 0, 2)


async def test_bytes_are_kept_as_they_came_with_their_hash(book: Book, database_url: str) -> None:
    attempt, body = await book.recorded(), bytes(range(256))
    await book.answered(
        attempt, Content(http_status=200), Reply(http_status=200, body=body, content_type="image/\0png")
    )
    assert await book.ledger.requests.content(attempt.request_key) == StoredContent(
        content_type="image/\ufffdpng", body=body
    )
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT success_payload, body_sha256 FROM api_request_logs").fetchone()
    assert row == (None, hashlib.sha256(body).hexdigest())


@pytest.mark.parametrize(
    ("body", "payload"),
    [
        (b'{"a": "nul\\u0000", "b": "\\ud800"}', {"a": "nul\ufffd", "b": "?"}),
        (b"[1, 2.5, null, true]", [1, 2.5, None, True]),
        (b'{"a": 1e999}', None),
        (b'{"a": NaN}', None),
        (b"[" * 100_000 + b"]" * 100_000, None),
        (b"[" * 300 + b"]" * 300, None),
        (b"not json", None),
        (b"", None),
    ],
)
async def test_paid_content_is_stored_whatever_json_it_is(
    book: Book, database_url: str, body: bytes, payload: object
) -> None:
    attempt = await book.recorded()
    reply = Reply(http_status=200, content_type="application/json; charset=utf-8", body=body)
    await book.answered(attempt, Content(http_status=200), reply)
    assert await book.ledger.requests.content(attempt.request_key) == StoredContent(
        content_type="application/json; charset=utf-8", body=body
    )
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT success_payload FROM api_request_logs").fetchone()
    assert row == (payload,)


async def test_a_hostile_receipt_is_stored_harmless(book: Book, database_url: str) -> None:
    attempt = await book.recorded()
    raw: dict[str, object] = {"success": False, "errorReason": "bad\0\ud800", "n": float("inf")}
    receipt = Receipt(success=False, error_reason="bad\0", raw=raw)
    await book.answered(attempt, Rejected(http_status=402, reason="bad"), Reply(http_status=402), receipt)
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT facilitator_response FROM transactions").fetchone()
    assert row == ({"success": False, "errorReason": "bad\ufffd"},)
