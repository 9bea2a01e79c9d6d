"""What callers send to act: wrong orders, forged ones, and what is recorded of them."""

import json
import uuid
from typing import Any

import httpx
import pytest

from autopay.client.paid_http import id_of_key
from tests.ledger.books import Book

ACT = {"Content-Type": "application/json"}
BUY = b'{"agent": "buyer", "url": "https://x.test/", %s}'
NOBODY = uuid.UUID(int=7)


async def post(api: httpx.AsyncClient, path: str, body: Any = None) -> httpx.Response:
    """Act as a program does."""
    return await api.post(path, json=body, headers=ACT)


async def test_without_temporal_an_order_is_recorded_with_what_became_of_it(api: httpx.AsyncClient, book: Book) -> None:
    answer = await post(api, "/api/agents/buyer/pause", {"reason": "lunch"})
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    [order] = await book.ledger.operator_actions.newest(agent="buyer")
    assert (order.actor, order.via, order.action, order.outcome) == ("local", "local", "pause", "failed")
    assert order.details == {"reason": "lunch"}
    events = [event.kind for event in await book.ledger.events.newest(limit=2)]
    assert all(kind.startswith("operator_actions.") for kind in events)


@pytest.mark.parametrize(
    ("path", "body", "status", "rule"),
    [
        pytest.param("/api/agents/nobody/pause", None, 404, "unknown_agent", id="unknown agent"),
        pytest.param("/api/agents/a%20b/pause", None, 422, "invalid_call", id="no name"),
        pytest.param("/api/agents/buyer/pause", {"reason": "a\0b"}, 422, "wrong_argument", id="NUL reason"),
        pytest.param("/api/agents/buyer/pause", {"reason": "a\nb"}, 422, "wrong_argument", id="two lines"),
        pytest.param("/api/agents/buyer/pause", {"reason": "a" * 501}, 422, "invalid_arguments", id="long reason"),
        pytest.param("/api/agents/buyer/pause", {"why": "x"}, 422, "invalid_arguments", id="unknown field"),
        pytest.param("/api/agents/buyer/pause", [], 422, "invalid_arguments", id="a list"),
        pytest.param("/api/agents/buyer/fly", None, 404, "unknown_path", id="no such act"),
        pytest.param("/api/requests", {"agent": "buyer"}, 422, "invalid_arguments", id="no URL"),
        pytest.param(
            "/api/requests", {"agent": "buyer", "url": "ftp://x.test/", "id": "a"}, 422, "invalid_call", id="no http"
        ),
        pytest.param(
            "/api/requests",
            {"agent": "nobody", "url": "https://x.test/", "id": "a"},
            404,
            "unknown_agent",
            id="nobody",
        ),
        pytest.param(
            "/api/requests",
            {"agent": "buyer", "url": "https://x.test/"},
            400,
            "idempotency_key_missing",
            id="no id",
        ),
        pytest.param(
            "/api/requests",
            {"agent": "buyer", "url": "https://x.test/", "wait": 1e9},
            422,
            "invalid_arguments",
            id="waits for ever",
        ),
        pytest.param(
            "/api/requests",
            {"agent": "buyer", "url": "https://x.test/", "id": "a", "max_price": "-1"},
            422,
            "invalid_call",
            id="negative price",
        ),
        pytest.param(
            "/api/requests",
            {"agent": "buyer", "url": "https://x.test/", "id": "a/b"},
            422,
            "invalid_arguments",
            id="an id with a slash",
        ),
        pytest.param("/api/requests/none/retry", None, 404, "unknown_request", id="retry of nothing"),
        pytest.param("/api/requests/none/cancel", None, 404, "unknown_request", id="cancel of nothing"),
        pytest.param(f"/api/approvals/{NOBODY}/approve", None, 404, "unknown_approval", id="unknown approval"),
        pytest.param("/api/approvals/7/approve", None, 422, "invalid_arguments", id="no approval's id"),
        pytest.param(f"/api/sessions/{NOBODY}/revoke", None, 404, "unknown_session", id="unknown session"),
    ],
)
async def test_an_order_that_cannot_be_is_refused_by_name(
    api: httpx.AsyncClient, book: Book, path: str, body: Any, status: int, rule: str
) -> None:
    answer = await post(api, path, body)
    assert (answer.status_code, answer.json()["rule"]) == (status, rule)
    assert await book.ledger.operator_actions.newest() == []


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param({"data": {"reason": "x"}}, id="a form"),
        pytest.param({"content": b'{"reason": "x"}', "headers": {"Content-Type": "text/plain"}}, id="plain text"),
        pytest.param({"content": b'{"reason": "x"}'}, id="no type"),
        pytest.param({"json": {}, "headers": {"Origin": "https://evil.example"}}, id="another site"),
        pytest.param({"json": {}, "headers": {"Host": "evil.example"}}, id="another name"),
        pytest.param({"json": {}, "headers": {"Sec-Fetch-Site": "cross-site"}}, id="cross-site"),
    ],
)
async def test_what_another_web_page_can_send_does_nothing(api: httpx.AsyncClient, book: Book, sent: Any) -> None:
    answer = await api.post("/api/agents/buyer/pause", **sent)
    assert answer.status_code in (403, 415, 421)
    assert await book.ledger.operator_actions.newest() == []


async def test_a_session_is_revoked_without_temporal_and_recorded(api: httpx.AsyncClient, book: Book) -> None:
    answer = await post(api, f"/api/sessions/{book.session_id}/revoke")
    assert (answer.status_code, answer.json()["is_new"]) == (200, True)
    [session] = (await api.get("/api/sessions")).json()["items"]
    assert session["state"] == "REVOKED"
    [order] = await book.ledger.operator_actions.newest()
    assert (order.action, order.target, order.outcome) == ("revoke", str(book.session_id), "done")


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"{", id="half"),
        pytest.param(b'{"agent": "\xff"}', id="no UTF-8"),
        pytest.param(BUY % b'"content": "\\ud800"', id="half a character"),
        pytest.param(b'{"\\ud800": 1}', id="half a character as a name"),
        pytest.param(BUY % b'"wait": NaN', id="waits for no number"),
        pytest.param(BUY % (b'"json": ' + b"[" * 5_000 + b"]" * 5_000), id="deep"),
        pytest.param(BUY % b'"headers": {"a": "b\\r\\nc: d"}', id="a second header"),
    ],
)
async def test_a_body_that_cannot_be_read_is_the_callers_fault(api: httpx.AsyncClient, book: Book, sent: bytes) -> None:
    answer = await api.post("/api/requests", content=sent, headers=ACT)
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"
    assert await book.ledger.operator_actions.newest() == []


@pytest.mark.parametrize(
    ("body_id", "keys", "id_or_rule"),
    [
        pytest.param("order-1", [], "order-1", id="in the body"),
        pytest.param(None, ["order-1"], "order-1", id="in the header"),
        pytest.param(None, ['"order-1"'], "order-1", id="as a structured field"),
        pytest.param("order-1", ["order-1"], "order-1", id="the same in both"),
        pytest.param(None, ["an order"], id_of_key("an order"), id="a key that is no id"),
        pytest.param("order-1", ["order-2"], "invalid_call", id="two ids"),
        pytest.param(None, ["order-1", "order-2"], "invalid_call", id="two keys"),
        pytest.param(None, [" "], "invalid_call", id="an empty key"),
    ],
)
async def test_what_is_asked_again_after_a_lost_answer_has_the_same_id(
    api: httpx.AsyncClient, book: Book, body_id: str | None, keys: list[str], id_or_rule: str
) -> None:
    order = {"agent": "buyer", "url": "https://x.test/", **({"id": body_id} if body_id else {})}
    headers = [("Content-Type", "application/json"), *(("Idempotency-Key", key) for key in keys)]
    answers = [await api.post("/api/requests", content=json.dumps(order), headers=headers) for _ in range(2)]
    orders = await book.ledger.operator_actions.newest()
    if id_or_rule == "invalid_call":
        assert [(each.status_code, each.json()["rule"]) for each in answers] == [(422, id_or_rule)] * 2
        assert orders == []
    else:
        assert [each.target for each in orders] == [id_or_rule] * 2
