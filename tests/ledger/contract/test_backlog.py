"""What an agent asks the ledger: what waits, what is under way, what has ended, and what it has bought already."""

from datetime import UTC, datetime, timedelta

import pytest

from autopay.domain.agent.ports import AgentLedger
from autopay.domain.agent.steps import Enqueued, ToEnqueue
from autopay.domain.errors import UnknownAgent
from autopay.domain.money import Currency
from autopay.domain.payment.exchange import UnpaidReply
from autopay.domain.phase import Phase
from autopay.domain.request import RequestStatus
from tests.ledger.books import JSON_REPLY, AnyBook, spec_of, stored
from tests.ledger.stores import AnyLedger

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def as_agent_port(ledger: AnyLedger) -> AgentLedger:
    """The ledger as an agent sees it; the type checker compares every signature."""
    return ledger


async def test_the_backlog_tells_what_waits_and_what_is_under_way(book: AnyBook) -> None:
    waits = spec_of("waits", max_price_atomic=5, currency=Currency.CASH, watch="w", method="POST", body_hash="0" * 64)
    await book.ledger.requests.accept(book.agent, waits, 2.5, 10)
    await book.ledger.requests.begin(await book.accepted("begun"))
    await book.end(await book.accepted("ended"), RequestStatus.REFUSED)
    backlog = await book.ledger.requests.backlog(book.agent)
    assert [request.request_id for request in backlog.open] == ["begun"]
    assert backlog.asked == {}
    (queued,) = backlog.queue
    assert (queued.request_id, queued.url, queued.method, queued.score) == ("waits", waits.url, "POST", 2.5)
    assert (queued.max_price_atomic, queued.currency, queued.watch) == (5, Currency.CASH, "w")
    assert queued.body_hash == "0" * 64


async def test_of_many_requests_the_ended_and_the_unknown_are_told_apart(book: AnyBook) -> None:
    await book.ledger.requests.begin(await book.accepted("open"))
    await book.end(await book.accepted("ended"), RequestStatus.REFUSED)
    ended, unknown = await book.ledger.requests.ended_among(book.agent, ["open", "ended", "never"])
    assert [(result.request_id, result.status) for result in ended] == [("ended", RequestStatus.REFUSED)]
    assert unknown == ["never"]


async def bought(book: AnyBook, name: str = "first", **changes: object) -> None:
    """Content for the market feed, which the seller gives away."""
    await book.ledger.requests.accept(book.agent, spec_of(name, **changes), 1.0, 10)
    await book.ledger.requests.record_plain(book.key(name), UnpaidReply(reply=JSON_REPLY, breaker="HALF_OPEN"))
    await book.end(book.key(name), RequestStatus.FREE)


async def fresh(
    book: AnyBook, name: str, since: datetime = LONG_AGO, changes: dict[str, object] | None = None
) -> Enqueued | None:
    """A request that may be answered with what came after that time; None: it was queued."""
    request = ToEnqueue(spec=spec_of(name, **(changes or {})), score=1.0, fresh_since=since)
    (outcome,) = await book.ledger.requests.accept_many(book.agent, [request], 10)
    assert isinstance(outcome, Enqueued)
    return outcome if outcome.status is RequestStatus.FRESH else None


async def test_what_was_bought_answers_the_same_question_again_without_a_payment(book: AnyBook) -> None:
    await bought(book)
    answer = await fresh(book, "second")
    assert answer is not None
    assert (answer.status, answer.content_of) == (RequestStatus.FRESH, "first")
    assert answer.content_at is not None
    record = await book.ledger.requests.get(book.key("second"))
    assert (record.closed, record.result.status, record.result.content_of) == (True, RequestStatus.FRESH, "first")
    assert record.result.http_status == 200
    assert await book.ledger.requests.content(book.key("second")) == stored("application/json", JSON_REPLY.body)
    assert (await book.ledger.requests.backlog(book.agent)).queue == ()
    assert (await book.ledger.policies.in_force(book.agent)).spent_today_atomic == 0


async def test_a_fresh_answer_is_given_once_and_stands(book: AnyBook) -> None:
    await bought(book)
    first = await fresh(book, "second")
    again = await fresh(book, "second")
    assert first is not None
    assert again == first.model_copy(update={"content_at": None})
    assert await book.ledger.requests.accept(book.agent, spec_of("second"), 1.0, 10) is None
    assert (await book.ledger.requests.result(book.key("second"))).status is RequestStatus.FRESH


@pytest.mark.parametrize(
    "other",
    [{"url": "https://market.test/api/market-feed?x=2"}, {"method": "POST"}, {"body_hash": "1" * 64}],
    ids=["url", "method", "body"],
)
async def test_other_data_is_not_fresh(book: AnyBook, other: dict[str, object]) -> None:
    await bought(book)
    assert await fresh(book, "second", changes=other) is None


async def test_content_that_came_before_the_window_is_not_fresh(book: AnyBook) -> None:
    await bought(book)
    answer = await fresh(book, "second")
    assert answer is not None
    assert answer.content_at is not None
    later = answer.content_at + timedelta(microseconds=1)
    assert await fresh(book, "third", later) is None


async def test_what_another_agent_bought_is_not_this_ones(book: AnyBook) -> None:
    await bought(book)
    await book.ledger.agents.create("other")
    request = ToEnqueue(spec=spec_of("second"), score=1.0, fresh_since=LONG_AGO)
    (outcome,) = await book.ledger.requests.accept_many("other", [request], 10)
    assert outcome == Enqueued(status=RequestStatus.WAITING)


async def test_what_was_paid_and_not_delivered_is_not_fresh(book: AnyBook) -> None:
    attempt = await book.recorded()
    await book.settled(attempt)
    await book.end(attempt.request_key, RequestStatus.UNDELIVERED)
    assert await fresh(book, "again") is None


async def test_the_phase_is_changed_and_an_unknown_agent_told(book: AnyBook) -> None:
    await as_agent_port(book.ledger).agents.set_phase(book.agent, Phase.INTERACTIVE)
    assert (await book.ledger.agents.get(book.agent)).phase == Phase.INTERACTIVE
    with pytest.raises(UnknownAgent):
        await book.ledger.requests.backlog("nobody")
