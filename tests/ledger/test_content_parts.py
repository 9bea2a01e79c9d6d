"""Content that is too large for one message is read in parts, by who knows its hash."""

import base64
import hashlib
from dataclasses import replace
from typing import Any, cast

import nexusrpc
import pytest

from autopay.domain.payment.exchange import Reply
from autopay.domain.payment.payment import Content
from autopay.domain.request import RequestStatus
from autopay.temporal.nexus.boundary import FailureInClear
from autopay.temporal.nexus.contract import MAX_PART_BYTES, Part, ReadInput
from autopay.temporal.nexus.handler import AutopayHandler
from tests.ledger.books import Book

NO_CONTEXT = cast("nexusrpc.handler.StartOperationContext", None)


async def bought(book: Book, body: bytes) -> ReadInput:
    """Content that was paid for and delivered."""
    attempt = await book.recorded()
    await book.answered(attempt, Content(http_status=200), Reply(http_status=200, body=body))
    await book.settled(attempt)
    await book.end(attempt.request_key, RequestStatus.DELIVERED)
    record = await book.ledger.requests.get(attempt.request_key)
    return ReadInput(id=record.spec.request_id, agent=record.agent, sha256=hashlib.sha256(body).hexdigest())


async def read(book: Book, wanted: ReadInput) -> Part:
    """One call of the operation."""
    handler: Any = AutopayHandler(book.ledger.requests)
    part: Part = await handler.read(NO_CONTEXT, wanted)
    return part


@pytest.mark.parametrize(
    ("size", "parts"),
    [
        pytest.param(0, 1, id="empty"),
        pytest.param(MAX_PART_BYTES, 1, id="exactly-one"),
        pytest.param(MAX_PART_BYTES + 1, 2, id="one-byte-more"),
        pytest.param(2 * MAX_PART_BYTES + 7, 3, id="three"),
    ],
)
async def test_content_is_read_in_parts(book: Book, size: int, parts: int) -> None:
    body = (bytes(range(251)) * (size // 251 + 1))[:size]
    first = await bought(book, body)
    part = await read(book, first)
    found, count = base64.b64decode(part.content_base64), 1
    while part.next_offset is not None:
        part = await read(book, replace(first, offset=part.next_offset))
        found, count = found + base64.b64decode(part.content_base64), count + 1
    assert (found == body, count) == (True, parts)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param({"sha256": "0" * 64}, "unknown_content", id="another-hash"),
        pytest.param({"id": "other"}, "unknown_content", id="another-request"),
        pytest.param({"agent": "other"}, "unknown_content", id="another-agent"),
        pytest.param({"offset": -1}, "invalid_request", id="before-its-beginning"),
    ],
)
async def test_nobody_reads_what_he_has_not_fetched(book: Book, change: dict[str, Any], reason: str) -> None:
    first = await bought(book, b"secret")
    with pytest.raises(nexusrpc.HandlerError) as refused:
        await read(book, replace(first, **change))
    cause = refused.value.__cause__
    assert isinstance(cause, FailureInClear)
    assert (cause.name, refused.value.retryable) == (reason, False)


async def test_behind_the_end_there_is_nothing(book: Book) -> None:
    first = await bought(book, b"short")
    assert await read(book, replace(first, offset=2**40)) == Part(content_base64="")
