"""Requests, what they bought, what is owed, and what a person is asked."""

import httpx
import pytest

from autopay.domain.payment.exchange import Reply
from autopay.domain.payment.payment import Content
from autopay.domain.phase import Phase
from autopay.domain.policy.policy import Awaiting, Policy
from autopay.domain.request import RequestStatus
from tests.ledger.books import JSON_REPLY, Book, open_book
from tests.ledger.proofs import Tamperer

HOSTILE = "<script>alert(1)</script>"


async def bought(book: Book, request_id: str, reply: Reply = JSON_REPLY) -> str:
    """A request that was paid, delivered and is over; its key."""
    key = await book.accepted(request_id)
    attempt = await book.recorded(key)
    await book.answered(attempt, Content(http_status=200), reply)
    await book.settled(attempt)
    await book.end(key, RequestStatus.DELIVERED)
    return key


async def test_a_request_is_told_with_its_payments_its_timeline_and_its_content(
    api: httpx.AsyncClient, book: Book
) -> None:
    await bought(book, "one")
    found = (await api.get("/api/requests/one")).json()
    assert (found["id"], found["agent"], found["status"]) == ("one", "buyer", "delivered")
    assert found["price"] == {"amount": "0.001", "atomic": 1_000, "currency": "USDC"}
    [payment] = found["payments"]
    assert (payment["status"], payment["sends"]) == ("VERIFIED", 1)
    kinds = [each["kind"] for each in found["timeline"]]
    assert kinds[:2] == ["api_request_logs.created", "transactions.created"]
    assert found["content"]["text"] == JSON_REPLY.body.decode()
    assert found["content"]["href"] == "/api/requests/one/content?agent=buyer"
    assert "--fresh" in found["advice"]


async def test_one_id_of_several_agents_has_to_name_its_agent(api: httpx.AsyncClient, book: Book) -> None:
    other = await open_book(book.ledger, "other")
    await bought(book, "a:b@c-1")
    await bought(other, "a:b@c-1")
    answer = await api.get("/api/requests/a:b@c-1")
    assert (answer.status_code, answer.json()["rule"]) == (409, "several_requests")
    assert "buyer" in answer.json()["detail"]
    for agent in ("buyer", "other"):
        found = await api.get("/api/requests/a:b@c-1", params={"agent": agent})
        assert found.json()["agent"] == agent


@pytest.mark.parametrize(
    ("path", "status"),
    [
        pytest.param("/api/requests/none", 404, id="unknown"),
        pytest.param("/api/requests/one?agent=nobody", 404, id="unknown agent"),
        pytest.param("/api/requests/%00", 404, id="NUL"),
        pytest.param("/api/requests/%2e%2e%2fagents", 404, id="dots and a slash"),
        pytest.param("/api/requests/%F0%9F%92%B8", 404, id="no id can have this"),
        pytest.param("/api/requests/" + "a" * 121, 422, id="too long"),
        pytest.param("/api/requests/one/content/more", 404, id="no such path"),
    ],
)
async def test_an_id_that_is_none_is_not_found(api: httpx.AsyncClient, book: Book, path: str, status: int) -> None:
    await bought(book, "one")
    answer = await api.get(path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_request_that_has_ended_is_not_sent_twice_to_who_has_it(api: httpx.AsyncClient, book: Book) -> None:
    await bought(book, "one")
    first = await api.get("/api/requests/one")
    again = await api.get("/api/requests/one", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    await book.accepted("two")
    assert "etag" not in (await api.get("/api/requests/two")).headers


async def test_content_of_a_seller_is_a_download_that_no_browser_runs(api: httpx.AsyncClient, book: Book) -> None:
    hostile = Reply(http_status=200, content_type="text/html", body=HOSTILE.encode())
    await bought(book, "one", hostile)
    answer = await api.get("/api/requests/one/content")
    assert answer.content == HOSTILE.encode()
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == "attachment"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; frame-ancestors 'none'")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["autopay-content-type"] == "text/html"
    again = await api.get("/api/requests/one/content", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304


async def test_a_request_without_content_says_that_it_has_none(api: httpx.AsyncClient, book: Book) -> None:
    await book.accepted("one")
    answer = await api.get("/api/requests/one/content")
    assert (answer.status_code, answer.json()["rule"]) == (404, "no_content")
    assert (await api.get("/api/requests/one")).json()["content"] is None


async def test_requests_are_listed_with_how_they_stand(api: httpx.AsyncClient, book: Book) -> None:
    await bought(book, "delivered")
    await book.accepted("waiting")
    await book.recorded(await book.accepted("unresolved"))
    refused = await book.accepted("refused")
    await book.end(refused, RequestStatus.REFUSED)
    items = (await api.get("/api/requests")).json()["items"]
    expected = {each: each for each in ("refused", "unresolved", "waiting", "delivered")}
    assert {each["id"]: each["status"] for each in items} == expected
    assert [each["id"] for each in items] == list(expected)
    for status in expected:
        filtered = (await api.get("/api/requests", params={"status": status})).json()["items"]
        assert [each["id"] for each in filtered] == [status]
    paid = (await api.get("/api/requests", params={"min": "0.001"})).json()["items"]
    assert [each["id"] for each in paid] == ["unresolved", "delivered"]


async def test_requests_come_in_pages_without_a_gap_or_a_repeat(api: httpx.AsyncClient, book: Book) -> None:
    for name in "abcde":
        await book.accepted(name)
    seen, after = [], None
    while True:
        page = (await api.get("/api/requests", params={"limit": 2, **({"after": after} if after else {})})).json()
        seen += [each["id"] for each in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert seen == list("edcba")


async def test_what_was_paid_and_not_delivered_is_a_dispute(api: httpx.AsyncClient, book: Book) -> None:
    key = await book.accepted("owed")
    await book.settled(await book.recorded(key))
    await book.end(key, RequestStatus.UNDELIVERED)
    [owed] = (await api.get("/api/disputes")).json()["items"]
    assert (owed["id"], owed["price"]["amount"], owed["refused"]) == ("owed", "0.001", False)
    assert (await api.get("/api/disputes", params={"agent": "nobody"})).status_code == 404


async def test_a_question_to_a_person_has_the_exact_terms(api: httpx.AsyncClient, book: Book) -> None:
    await book.ledger.agents.set_phase("buyer", Phase.INTERACTIVE)
    await book.ledger.policies.set(Policy(price_factor=None), "buyer")
    assert isinstance(await book.reserve(await book.accepted("dear")), Awaiting)
    [asked] = (await api.get("/api/approvals")).json()["items"]
    assert (asked["request_id"], asked["status"], asked["price"]["atomic"]) == ("dear", "PENDING", 1_000)
    assert asked["pay_to"] == "seller"
    assert (await api.get("/api/approvals", params={"all": True, "agent": "buyer"})).json()["items"] == [asked]


async def test_a_question_that_comes_later_stands_below_on_the_page(api: httpx.AsyncClient, book: Book) -> None:
    await book.ledger.agents.set_phase("buyer", Phase.INTERACTIVE)
    await book.ledger.policies.set(Policy(price_factor=None), "buyer")
    for name in ("first", "second", "third"):
        assert isinstance(await book.reserve(await book.accepted(name)), Awaiting)
    page = (await api.get("/approvals")).text
    places = [page.index(f"/requests/buyer/{name}") for name in ("first", "second", "third")]
    assert places == sorted(places)


async def test_many_questions_are_shown_in_part_and_said_to_be_more(
    api: httpx.AsyncClient, book: Book, database_url: str
) -> None:
    await book.ledger.agents.set_phase("buyer", Phase.INTERACTIVE)
    await book.ledger.policies.set(Policy(price_factor=None), "buyer")
    assert isinstance(await book.reserve(await book.accepted("first")), Awaiting)
    Tamperer(database_url).does(
        "INSERT INTO approvals (id, agent_id, x402_request_id, terms_hash, terms, why, created_at, expires_at) "
        "SELECT gen_random_uuid(), agent_id, x402_request_id, terms_hash || n, terms, why, created_at + n * "
        "interval '1 ms', expires_at FROM approvals, generate_series(1, 100) n"
    )
    page = (await api.get("/approvals")).text
    assert "101 payments wait for a person" in page
    assert "The newest 100 are shown" in page
    overview = (await api.get("/")).text
    assert "81 more payments wait for a person" in overview
    assert overview.count("/deny") == 20


async def test_disputes_come_in_pages_those_that_still_ask_first(api: httpx.AsyncClient, book: Book) -> None:
    for name in ("asking", "old", "new"):
        key = await book.accepted(name)
        await book.settled(await book.recorded(key))
        if name != "asking":
            await book.end(key, RequestStatus.UNDELIVERED)
    seen, at = [], "/api/disputes?limit=1"
    while True:
        answer = await api.get(at)
        seen += [each["id"] for each in answer.json()["items"]]
        if answer.json()["next"] is None:
            break
        at = answer.headers["link"].removeprefix("<").partition(">")[0]
    assert seen == ["asking", "new", "old"]
    assert (await api.get("/api/disputes?after=there")).json()["rule"] == "wrong_cursor"
    overview = (await api.get("/")).text
    assert "2 payments were made for data that did not come" in overview
    assert await book.ledger.reports.dispute_owners("old") == ["buyer"]
