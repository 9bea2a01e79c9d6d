"""Lists of agents and payments: what they hold, their pages and their filters."""

import httpx
import pytest

from tests.ledger.books import Book, open_book


async def paid(book: Book, request_id: str) -> str:
    """A settled payment for that request; its key."""
    key = await book.accepted(request_id)
    await book.settled(await book.recorded(key))
    return key


async def test_without_temporal_agents_are_listed_with_their_money_and_what_is_wrong(
    api: httpx.AsyncClient, book: Book
) -> None:
    await paid(book, "one")
    answer = await api.get("/api/agents")
    found = answer.json()
    [agent] = found["items"]
    assert (agent["name"], agent["state"], agent["payments"]) == ("buyer", "unknown", 1)
    assert agent["spent"] == [{"amount": "0.001", "atomic": 1_000, "currency": "USDC"}]
    assert "Temporal" in found["problem"]


async def test_a_page_of_agents_says_where_the_list_goes_on(api: httpx.AsyncClient, book: Book) -> None:
    for name in ("another", "zebra"):
        await open_book(book.ledger, name)
    first = await api.get("/api/agents", params={"limit": 2})
    assert [each["name"] for each in first.json()["items"]] == ["another", "buyer"]
    assert first.headers["link"] == '</api/agents?limit=2&after=buyer>; rel="next"'
    second = await api.get("/api/agents", params={"limit": 2, "after": first.json()["next"]})
    assert [each["name"] for each in second.json()["items"]] == ["zebra"]
    assert second.json()["next"] is None
    assert "link" not in second.headers


async def test_payments_come_in_pages_without_a_gap_or_a_repeat(api: httpx.AsyncClient, book: Book) -> None:
    for name in "abcde":
        await paid(book, name)
    seen, at = [], "/api/transactions?limit=2"
    while True:
        answer = await api.get(at)
        seen += [each["request_id"] for each in answer.json()["items"]]
        if answer.json()["next"] is None:
            break
        at = answer.headers["link"].removeprefix("<").partition(">")[0]
    assert seen == list("edcba")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param("status=VERIFIED", ["one"], id="status"),
        pytest.param("status=PENDING&status=RETRYING", ["two"], id="statuses"),
        pytest.param("agent=buyer&min=0.001&max=0.001", ["two", "one"], id="agent and amount"),
        pytest.param("endpoint=/api/market*", ["two", "one"], id="glob"),
        pytest.param("endpoint=/other", [], id="another path"),
        pytest.param("since=1h&until=now", ["two", "one"], id="times"),
        pytest.param("until=yesterday", [], id="before yesterday"),
        pytest.param("currency=CASH", [], id="currency"),
    ],
)
async def test_payments_are_filtered_as_by_ledger_show(
    api: httpx.AsyncClient, book: Book, query: str, expected: list[str]
) -> None:
    await paid(book, "one")
    await book.recorded(await book.accepted("two"))
    answer = await api.get(f"/api/transactions?{query}")
    assert [each["request_id"] for each in answer.json()["items"]] == expected


@pytest.mark.parametrize(
    ("path", "status", "rule"),
    [
        pytest.param("/api/transactions?after=zzz", 422, "wrong_cursor", id="bad cursor"),
        pytest.param("/api/transactions?after=_", 422, "wrong_cursor", id="half a cursor"),
        pytest.param("/api/transactions?after=%00", 422, "wrong_cursor", id="NUL cursor"),
        pytest.param("/api/transactions?limit=0", 422, "invalid_arguments", id="no rows"),
        pytest.param("/api/transactions?limit=-5", 422, "invalid_arguments", id="negative"),
        pytest.param("/api/transactions?limit=99999999999999999999", 422, "invalid_arguments", id="huge"),
        pytest.param("/api/transactions?status=PAID", 422, "invalid_arguments", id="no status"),
        pytest.param("/api/transactions?agent=nobody", 404, "unknown_agent", id="unknown agent"),
        pytest.param("/api/transactions?agent=a%00b", 422, "invalid_call", id="NUL agent"),
        pytest.param("/api/transactions?endpoint=%00", 422, "wrong_argument", id="NUL endpoint"),
        pytest.param("/api/transactions?since=soon", 422, "wrong_argument", id="no time"),
        pytest.param("/api/transactions?min=-1", 422, "wrong_argument", id="negative amount"),
        pytest.param("/api/transactions?min=1e999999999", 422, "wrong_argument", id="endless amount"),
        pytest.param("/api/nothing", 404, "unknown_path", id="no such path"),
        pytest.param("/api/%00", 404, "unknown_path", id="NUL path"),
    ],
)
async def test_what_cannot_be_is_a_problem_that_names_it(
    api: httpx.AsyncClient, path: str, status: int, rule: str
) -> None:
    answer = await api.get(path)
    assert (answer.status_code, answer.json()["rule"]) == (status, rule)
    assert answer.headers["content-type"] == "application/problem+json"
    assert "\0" not in answer.text


async def test_another_method_is_a_problem_that_says_so(api: httpx.AsyncClient) -> None:
    answer = await api.delete("/api/agents", headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["rule"], answer.headers["allow"]) == (405, "wrong_method", "GET")
