"""/api/webhooks: where events are sent to, and what became of each."""

from datetime import UTC, datetime

import httpx

from autopay.adapters.postgres.reports.events import LedgerEvent
from autopay.domain.webhooks.ports import Sent
from autopay.domain.webhooks.records import Attempt
from autopay.uuid7 import uuid7
from tests.ledger.books import Book

SEALED = "v1.sealed"


async def test_endpoints_and_deliveries_are_listed_without_secrets(api: httpx.AsyncClient, book: Book) -> None:
    book_of_webhooks = book.ledger.webhooks
    made = await book_of_webhooks.add(uuid7(), "https://ops.example.com/autopay", ["payment.*"], SEALED)
    event = LedgerEvent(
        cursor="1:1",
        at=datetime.now(UTC),
        agent=book.agent,
        agent_id=uuid7(),
        seq=1,
        kind="transactions.changed",
        row_id=uuid7(),
        request_id=None,
        amount_atomic=None,
        currency=None,
        values={},
    )
    failed = Attempt(http_status=500, error="HTTP 500")
    assert await book_of_webhooks.record(made.endpoint_id, Sent(event, "payment.final", 1, failed, 5.0))
    answer = await api.get("/api/webhooks")
    (listed,) = answer.json()["items"]
    assert (listed["url"], listed["state"], listed["retrying"]) == ("https://ops.example.com/autopay", "failing", 1)
    assert SEALED not in answer.text
    (sent,) = (await api.get(f"/api/webhooks/{made.endpoint_id}/deliveries")).json()["items"]
    assert (sent["type"], sent["status"], sent["attempts"], sent["http_status"]) == (
        "payment.final",
        "RETRYING",
        1,
        500,
    )


async def test_an_unknown_endpoint_is_named(api: httpx.AsyncClient) -> None:
    assert (await api.get("/api/webhooks")).json() == {"items": []}
    answer = await api.get(f"/api/webhooks/{uuid7()}/deliveries")
    assert answer.json()["rule"] == "unknown_webhook"
