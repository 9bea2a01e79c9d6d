"""Requests: accepted once, queued within a limit, begun, and ended once."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from autopay.domain.agent.steps import Backlog, Enqueued, ToEnqueue
from autopay.domain.errors import IllegalTransition, UnknownAgent, UnknownRequest
from autopay.domain.money import Currency
from autopay.domain.payment.exchange import Reply, UnpaidReply
from autopay.domain.payment.offer import Challenge, Option
from autopay.domain.payment.payment import Payment
from autopay.domain.refusal import RefusalReason, Refused
from autopay.domain.request import RequestError, RequestStatus, payment_workflow_id
from tests.ledger.books import JSON_REPLY, AnyBook, spec_of

CHALLENGE = Challenge(
    version=2,
    options=(
        Option(
            scheme="exact", network="n", asset="a", amount="1", pay_to="p", fee_payer="f", memo="m\0", raw='{"a":"\0"}'
        ),
    ),
)


async def test_a_request_is_told_as_it_was_asked(book: AnyBook) -> None:
    spec = spec_of(
        "one", max_price_atomic=2**64 - 1, currency=Currency.CASH, watch="w", body_hash="0" * 64, method="POST"
    )
    assert await book.ledger.requests.accept(book.agent, spec, 1.0, 10) is None
    record = await book.ledger.requests.get(book.key("one"))
    assert (record.spec, record.agent, record.closed) == (spec, "buyer", False)
    assert record.result.status is RequestStatus.WAITING
    assert record.result.workflow_id == payment_workflow_id("buyer", "one")


async def test_the_same_request_again_changes_nothing(book: AnyBook) -> None:
    for score in (1.0, 2.0):
        assert await book.ledger.requests.accept(book.agent, spec_of("one"), score, 1) is None
    assert [queued.score for queued in (await book.ledger.requests.backlog(book.agent)).queue] == [1.0]


async def test_the_same_id_with_other_terms_is_refused(book: AnyBook) -> None:
    await book.accepted("one")
    refused = await book.ledger.requests.accept(book.agent, spec_of("one", max_price_atomic=5), 1.0, 10)
    assert isinstance(refused, Refused)
    assert refused.reason is RefusalReason.TERMS_DIFFER


async def test_many_calls_for_one_id_record_one_request(book: AnyBook) -> None:
    accept = book.ledger.requests.accept
    results = await asyncio.gather(*(accept(book.agent, spec_of("one"), 1.0, 10) for _ in range(12)))
    assert set(results) == {None}
    assert len((await book.ledger.requests.backlog(book.agent)).queue) == 1


async def test_the_queue_never_grows_beyond_its_limit(book: AnyBook) -> None:
    accept = book.ledger.requests.accept
    results = await asyncio.gather(*(accept(book.agent, spec_of(f"r{n}"), 1.0, 5) for n in range(12)))
    assert [getattr(result, "reason", None) for result in results].count(RefusalReason.QUEUE_FULL) == 7
    assert len((await book.ledger.requests.backlog(book.agent)).queue) == 5


def together(*names: str, **changes: object) -> list[ToEnqueue]:
    """Requests that come at once, each with a score of its own."""
    return [ToEnqueue(spec=spec_of(name, **changes), score=float(at)) for at, name in enumerate(names)]


def reasons(outcomes: Sequence[Enqueued | Refused]) -> list[str]:
    """How each was taken."""
    return [outcome.reason.value if isinstance(outcome, Refused) else outcome.status.value for outcome in outcomes]


async def test_requests_that_come_together_are_all_queued_with_their_own_scores(book: AnyBook) -> None:
    outcomes = await book.ledger.requests.accept_many(book.agent, together("a", "b", "c", method="POST"), 10)
    assert reasons(outcomes) == ["waiting"] * 3
    queue = (await book.ledger.requests.backlog(book.agent)).queue
    assert {(each.request_id, each.score, each.method) for each in queue} == {
        ("a", 0.0, "POST"),
        ("b", 1.0, "POST"),
        ("c", 2.0, "POST"),
    }


async def test_the_queues_limit_counts_what_comes_together(book: AnyBook) -> None:
    assert await book.ledger.requests.accept(book.agent, spec_of("before"), 1.0, 3) is None
    outcomes = await book.ledger.requests.accept_many(book.agent, together("a", "before", "b", "c", "d"), 3)
    assert reasons(outcomes) == ["waiting", "waiting", "waiting", "queue_full", "queue_full"]
    assert len((await book.ledger.requests.backlog(book.agent)).queue) == 3


async def test_of_requests_that_come_together_one_refusal_stops_no_other(book: AnyBook) -> None:
    await book.accepted("known")
    await book.end(await book.accepted("ended"), RequestStatus.REFUSED)
    mixed = [*together("known", max_price_atomic=5), *together("new", "ended"), *together("new", max_price_atomic=5)]
    outcomes = await book.ledger.requests.accept_many(book.agent, mixed, 10)
    assert reasons(outcomes) == ["terms_differ", "waiting", "refused", "terms_differ"]


async def test_an_id_that_comes_twice_at_once_is_one_request(book: AnyBook) -> None:
    outcomes = await book.ledger.requests.accept_many(book.agent, together("one", "one", "two"), 10)
    assert reasons(outcomes) == ["waiting"] * 3
    assert {each.score for each in (await book.ledger.requests.backlog(book.agent)).queue} == {0.0, 2.0}


async def test_a_request_under_way_is_told_as_it_stands(book: AnyBook) -> None:
    attempt = await book.recorded()
    record = await book.ledger.requests.get(attempt.request_key)
    (outcome,) = await book.ledger.requests.accept_many(book.agent, [ToEnqueue(spec=record.spec, score=1.0)], 10)
    assert outcome == Enqueued(status=RequestStatus.UNRESOLVED)


async def test_what_is_fresh_is_answered_beside_what_is_queued_even_when_the_queue_is_full(book: AnyBook) -> None:
    key = await book.accepted("first")
    await book.ledger.requests.record_plain(key, UnpaidReply(reply=JSON_REPLY))
    await book.end(key, RequestStatus.FREE)
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    fresh = [each.model_copy(update={"fresh_since": long_ago}) for each in together("second", "third")]
    other = ToEnqueue(spec=spec_of("x", url="https://market.test/other"), score=1.0, fresh_since=long_ago)
    outcomes = await book.ledger.requests.accept_many(book.agent, [*fresh, other, *together("fourth")], 1)
    assert reasons(outcomes) == ["fresh", "fresh", "waiting", "queue_full"]
    assert [getattr(each, "content_of", None) for each in outcomes[:2]] == ["first", "first"]
    assert (await book.ledger.requests.result(book.key("third"))).content_of == "first"


async def test_an_agent_that_nobody_knows_gets_nothing_queued(book: AnyBook) -> None:
    with pytest.raises(UnknownAgent, match="nobody"):
        await book.ledger.requests.accept_many("nobody", together("one"), 10)


async def test_a_begun_request_has_left_the_queue_and_is_open_until_it_ends(book: AnyBook) -> None:
    key = await book.accepted("one")
    await book.ledger.requests.begin(key)
    backlog = await book.ledger.requests.backlog(book.agent)
    assert (backlog.queue, [each.request_id for each in backlog.open]) == ((), ["one"])
    await book.end(key, RequestStatus.REFUSED)
    assert await book.ledger.requests.backlog(book.agent) == Backlog()


async def test_a_request_that_ends_while_it_waits_leaves_the_queue(book: AnyBook) -> None:
    await book.ledger.requests.accept(book.agent, spec_of("one"), 1.0, 1)
    await book.end(book.key("one"), RequestStatus.REFUSED)
    assert (await book.ledger.requests.backlog(book.agent)).queue == ()
    assert await book.ledger.requests.accept(book.agent, spec_of("two"), 1.0, 1) is None


async def test_the_first_end_stands(book: AnyBook) -> None:
    key = await book.accepted()
    first = (await book.ledger.requests.result(key)).model_copy(
        update={"status": RequestStatus.REFUSED, "error": RequestError(type="price", message="too much")}
    )
    await book.ledger.requests.close(key, first)
    await book.ledger.requests.close(key, first.model_copy(update={"status": RequestStatus.FAILED}))
    record = await book.ledger.requests.get(key)
    assert record.closed
    assert record.result.status is RequestStatus.REFUSED
    assert record.result.error == RequestError(type="price", message="too much")


@pytest.mark.parametrize("status", [RequestStatus.WAITING, RequestStatus.UNRESOLVED])
async def test_a_request_cannot_end_as_still_open(book: AnyBook, status: RequestStatus) -> None:
    with pytest.raises(IllegalTransition, match="cannot end as"):
        await book.end(await book.accepted(), status)


async def test_a_request_cannot_end_while_a_payment_has_no_outcome(book: AnyBook) -> None:
    attempt = await book.recorded()
    await book.delivered(attempt)
    with pytest.raises(IllegalTransition, match="without an outcome"):
        await book.end(attempt.request_key, RequestStatus.DELIVERED)
    await book.settled(attempt)
    await book.end(attempt.request_key, RequestStatus.DELIVERED)


async def test_an_ended_request_returns_its_result_with_the_transaction(book: AnyBook) -> None:
    attempt = await book.recorded()
    await book.delivered(attempt)
    settlement = await book.settled(attempt)
    await book.end(attempt.request_key, RequestStatus.DELIVERED)
    result = await book.ledger.requests.result(attempt.request_key)
    assert (result.status, result.transaction) == (RequestStatus.DELIVERED, settlement.signature)
    assert (result.price_atomic, result.currency, result.attempts) == (1_000, Currency.USDC, 1)


async def test_content_that_comes_after_an_undelivered_end_is_delivered(book: AnyBook) -> None:
    attempt = await book.recorded()
    await book.settled(attempt)
    await book.end(attempt.request_key, RequestStatus.UNDELIVERED)
    assert (await book.ledger.requests.result(attempt.request_key)).status is RequestStatus.UNDELIVERED
    await book.delivered(attempt)
    result = await book.ledger.requests.result(attempt.request_key)
    assert (result.status, result.http_status, result.error) == (RequestStatus.DELIVERED, 200, None)


async def test_a_request_waits_again_when_its_payment_is_dead(book: AnyBook) -> None:
    attempt = await book.recorded()
    await book.ledger.payments.record_dead(attempt.attempt_id, "expired_unsettled")
    result = await book.ledger.requests.result(attempt.request_key)
    assert (result.status, result.price_atomic, result.attempts) == (RequestStatus.WAITING, None, 1)


async def test_a_sellers_challenge_is_recorded_whatever_it_holds(book: AnyBook) -> None:
    key = await book.accepted()
    await book.ledger.requests.record_plain(key, UnpaidReply(reply=Reply(http_status=402), challenge=CHALLENGE))
    assert (await book.ledger.requests.result(key)).http_status == 402
    assert await book.ledger.requests.content(key) is None
    assert await book.ledger.payments.recall(key) == Payment()


async def test_unknown_names_are_told(book: AnyBook) -> None:
    for call in (
        book.ledger.requests.get,
        book.ledger.payments.recall,
        book.ledger.requests.begin,
        book.ledger.requests.result,
        book.ledger.requests.content,
    ):
        with pytest.raises(UnknownRequest, match="ap_x"):
            await call("ap_x")
    for of_agent in (book.ledger.agents.get, book.ledger.requests.backlog):
        with pytest.raises(UnknownAgent, match="nobody"):
            await of_agent("nobody")
    assert await book.ledger.payments.attempt("ap_x", 1) is None
