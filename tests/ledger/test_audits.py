"""What a reconciliation, a dispute and an adoption ask the ledger, on a real PostgreSQL."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from autopay.adapters.postgres import PostgresLedger
from autopay.domain.errors import UnknownAgent
from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.payment.adoption import Unfinished, next_ask
from autopay.domain.payment.attempt import RecordedAttempt
from autopay.domain.payment.chain import Transfer
from autopay.domain.payment.exchange import Reply
from autopay.domain.payment.payment import Conflict, Rejected
from autopay.domain.reconcile.checkpoint import AccountTransaction, Checkpoint
from autopay.domain.reconcile.compare import BookedAttempt
from autopay.domain.reconcile.run import ReconcileRun
from autopay.domain.request import RequestStatus, x402_request_id
from tests.ledger.books import PRICE, Book, open_book, settlement_of, spec_of
from tests.unit.books_and_chain import BooksAndChain


async def booked(book: Book, above: int = -1, up_to: int = 1_000, **keys: list[str]) -> list[BookedAttempt]:
    """What the ledger has of the book's session."""
    wanted: dict[str, list[str]] = {"message_hashes": [], "signatures": []} | keys
    return list(
        await book.ledger.reconciliation.booked_attempts(book.session_id, above_slot=above, up_to_slot=up_to, **wanted)
    )


async def test_every_session_is_a_payer_whatever_became_of_it(book: Book) -> None:
    other = await open_book(book.ledger, "other", currency=Currency.CASH)
    await book.ledger.sessions.end(other.session_id)
    payers = await book.ledger.reconciliation.payers()
    assert [(each.agent, each.currency, each.session_id) for each in payers] == [
        ("buyer", Currency.USDC, book.session_id),
        ("other", Currency.CASH, other.session_id),
    ]
    assert (payers[0].source_account, payers[0].authority) == ("source", "delegate")
    assert [each.agent for each in await book.ledger.reconciliation.payers("other")] == ["other"]
    with pytest.raises(UnknownAgent):
        await book.ledger.reconciliation.payers("nobody")


async def test_bookings_are_found_by_slot(book: Book) -> None:
    for slot in (100, 101, 102):
        await book.settled(await book.recorded(), slot)
    assert sorted(each.slot or 0 for each in await booked(book, 100, 102)) == [101, 102]
    assert await booked(book, 102, 1_000) == []
    assert {each.is_booked for each in await booked(book)} == {True}


async def test_an_attempt_in_any_status_is_found_by_its_message_and_told_once(book: Book) -> None:
    pending, dead, settled = [await book.recorded() for _ in range(3)]
    await book.ledger.payments.record_dead(dead.attempt_id, "expired_unsettled")
    settlement = await book.settled(settled)
    assert [each.attempt_id for each in await booked(book)] == [settled.attempt_id]
    hashes = [pending.message_hash, dead.message_hash, settled.message_hash]
    found = await booked(book, message_hashes=hashes, signatures=[settlement.signature])
    assert sorted(each.status for each in found) == ["FAILED", "PENDING", "VERIFIED"]


async def test_a_receipt_is_no_booking_and_a_sighting_at_confirmed_is(book: Book) -> None:
    claimed, seen = await book.recorded(), await book.recorded()
    await book.delivered(claimed)
    await book.ledger.payments.record_seen(seen.attempt_id, settlement_of(seen), final=False)
    assert [each.attempt_id for each in await booked(book)] == [seen.attempt_id]
    totals = await book.ledger.reconciliation.totals(None, Network.DEVNET, 1_000, [claimed.attempt_id])
    assert (totals.payments, totals.spent_atomic) == (1, {Currency.USDC: PRICE})
    assert [each.attempt_id for each in totals.claimed] == [claimed.attempt_id]
    assert [each.attempt_id for each in totals.attempts] == [claimed.attempt_id]


async def test_totals_end_at_the_slot_and_are_of_one_agent_and_one_network(book: Book) -> None:
    other = await open_book(book.ledger, "other")
    for each, slot in ((book, 100), (book, 101), (other, 100)):
        await each.settled(await each.recorded(), slot)
    totals = await book.ledger.reconciliation.totals("buyer", Network.DEVNET, 100, [])
    assert (totals.payments, totals.spent_atomic, totals.strays) == (1, {Currency.USDC: PRICE}, ())
    assert [each.slot for each in totals.fresh] == [101]
    assert (await book.ledger.reconciliation.totals(None, Network.DEVNET, 101, [])).payments == 3
    assert (await book.ledger.reconciliation.totals(None, Network.MAINNET, 101, [])).payments == 0


async def test_a_booking_without_a_session_is_a_stray(book: Book, database_url: str) -> None:
    await book.settled(await book.recorded())
    with psycopg.connect(database_url) as connection:
        connection.execute("SET session_replication_role = replica")  # without triggers
        connection.execute("UPDATE transactions SET session_id = NULL")
    assert len((await book.ledger.reconciliation.totals(None, Network.DEVNET, 1_000, [])).strays) == 1


async def test_the_ledger_reconciles_with_a_chain_that_shows_the_same(book: Book) -> None:
    world = BooksAndChain(chain={"source": []}, batch=2)
    for slot in (100, 101, 102, 103):
        attempt = await book.recorded()
        settlement = await book.settled(attempt, slot)
        moved = Transfer(
            source="source", mint="mint", destination="destination", authority="delegate", amount_atomic=PRICE
        )
        seen = AccountTransaction(
            signature=settlement.signature, slot=slot, message_hash=attempt.message_hash, transfers=(moved,)
        )
        world.chain["source"].insert(0, seen)
    marks = Checkpoint(network=Network.DEVNET)
    run = ReconcileRun(book.ledger.reconciliation, world, Network.DEVNET, marks)
    report = await run.run()
    assert (report.ok, report.payments, report.on_chain) == (True, 4, 4)
    world.chain["source"][2] = world.chain["source"][2].model_copy(update={"signature": "another"})
    marks.sessions.clear()
    report = await run.run()
    assert [(each.reason, each.transaction) for each in report.unmatched_chain] == [("signature_differs", "another")]


# Disputes


async def test_a_paid_and_undelivered_request_is_a_dispute_until_it_is_delivered(book: Book) -> None:
    attempt = await book.recorded(await book.accepted("one"))
    await book.answered(attempt, Rejected(http_status=500, reason="http_500"), Reply(http_status=500))
    assert (await book.ledger.reports.disputes()).rows == ()  # nobody knows yet that it is paid
    settlement = await book.settled(attempt)
    (asked,) = (await book.ledger.reports.disputes("buyer")).rows
    assert (asked.request_id, asked.when) == ("one", None), "its payment still asks the seller"
    await book.end(attempt.request_key, RequestStatus.UNDELIVERED)
    (dispute,) = (await book.ledger.reports.disputes("buyer")).rows
    assert (dispute.request_id, dispute.agent, dispute.url) == ("one", "buyer", spec_of("one").url)
    assert (dispute.amount_atomic, dispute.currency, dispute.transaction) == (
        PRICE,
        Currency.USDC,
        settlement.signature,
    )
    assert (dispute.http_status, dispute.sends, dispute.when is not None) == (500, 1, True)
    await book.delivered(attempt)
    assert (await book.ledger.reports.disputes()).rows == ()


async def test_the_dispute_names_the_attempt_that_paid_and_no_answer_that_was_none(book: Book) -> None:
    key = await book.accepted()
    first = await book.recorded(key)
    await book.answered(first, Rejected(http_status=402, reason="http_402"), Reply(http_status=402))
    await book.ledger.payments.record_dead(first.attempt_id, "expired_unsettled")
    second = await book.recorded(key, 2, 2_000)
    await book.settled(second)
    await book.end(key, RequestStatus.UNDELIVERED)
    (dispute,) = (await book.ledger.reports.disputes()).rows
    assert (dispute.amount_atomic, dispute.http_status) == (2_000, None)
    await open_book(book.ledger, "other")
    assert (await book.ledger.reports.disputes("other")).rows == ()


# What is owed

DAY = timedelta(days=1)


async def owed(book: Book, ask_for: timedelta = DAY) -> list[str]:
    """Ids of the requests whose seller is asked again now."""
    return [each.order.request_id for each in await book.ledger.requests.owed(ask_for=ask_for, limit=10)]


def age(database_url: str, ended_ago: str, sent_ago: str) -> None:
    """As if the request had ended, and been sent last, so long ago."""
    with psycopg.connect(database_url) as connection:
        connection.execute("SET session_replication_role = replica")  # as no trigger lets an end be changed
        connection.execute("UPDATE api_request_logs SET closed_at = now() - %s::interval", (ended_ago,))
        connection.execute("UPDATE transactions SET sent_at = now() - %s::interval", (sent_ago,))


async def undelivered(book: Book, request_id: str = "one") -> RecordedAttempt:
    """A request that was paid, and ended without content."""
    attempt = await book.recorded(await book.accepted(request_id))
    await book.ledger.payments.record_sending(attempt.attempt_id)
    await book.settled(attempt)
    await book.end(attempt.request_key, RequestStatus.UNDELIVERED)
    return attempt


@pytest.mark.parametrize(
    ("ended_ago", "sent_ago", "due"),
    [
        pytest.param("9 min", "9 min", False, id="ended just now"),
        pytest.param("11 min", "11 min", True, id="ten minutes after its end"),
        pytest.param("25 min", "14 min", True, id="ten minutes after it was asked for the first time"),
        pytest.param("60 min", "29 min", False, id="waits double: asked after 31 minutes, and again after 62"),
        pytest.param("63 min", "31 min", False, id="not yet twice as long"),
        pytest.param("63 min", "32 min", True, id="twice as long"),
        pytest.param("25 h", "12 h", False, id="a day would be over"),
    ],
)
async def test_a_seller_is_asked_again_at_longer_and_longer_intervals_for_a_day(
    book: Book, database_url: str, ended_ago: str, sent_ago: str, due: bool
) -> None:
    await undelivered(book)
    age(database_url, ended_ago, sent_ago)
    assert await owed(book) == (["one"] if due else [])
    (dispute,) = (await book.ledger.reports.disputes()).rows
    assert dispute.when is not None
    assert dispute.sent_at is not None
    told = next_ask(dispute.when, dispute.sent_at, DAY)
    assert (told is not None and told <= datetime.now(UTC)) == due, "the same rule as people are told"


async def test_what_is_owed_is_asked_for_until_it_is_delivered_or_refused_for_good(
    book: Book, database_url: str
) -> None:
    before = await undelivered(book, "refused-before")
    delivered = await undelivered(book, "delivered")
    refused = await undelivered(book, "refused")
    for attempt in (delivered, refused):
        await book.ledger.payments.record_sending(attempt.attempt_id)
    await book.ledger.payments.record_answer(before.attempt_id, Reply(http_status=409), Conflict())
    await book.ledger.payments.record_answer(refused.attempt_id, Reply(http_status=404), Conflict(http_status=404))
    await book.delivered(delivered)
    age(database_url, "1 h", "30 min")
    assert await owed(book) == ["refused-before"]
    assert await owed(book, timedelta(minutes=59)) == []
    assert {row.request_id: row.refused for row in (await book.ledger.reports.disputes()).rows} == {
        "refused": True,
        "refused-before": False,
    }


async def test_where_paid_content_is_said_to_be_is_kept_and_shown(book: Book) -> None:
    attempt = await undelivered(book)
    reply = Reply(http_status=302, location="https://elsewhere.test/file")
    await book.ledger.payments.record_answer(attempt.attempt_id, reply, Rejected(http_status=302, reason="http_302"))
    (dispute,) = (await book.ledger.reports.disputes()).rows
    assert dispute.location == "https://elsewhere.test/file"
    assert (await book.ledger.requests.result(attempt.request_key)).content_location == "https://elsewhere.test/file"


# Adoption


async def unfinished(ledger: PostgresLedger, older_than_s: float = 0, limit: int = 100) -> list[str]:
    """Request ids, page by page."""
    found: list[Unfinished] = []
    while page := await ledger.requests.unfinished(
        older_than_s=older_than_s, after=found[-1].row_id if found else None, limit=limit
    ):
        found += page
    return [each.order.request_id for each in found]


async def test_what_was_begun_and_has_not_ended_is_unfinished(book: Book) -> None:
    await book.ledger.requests.accept("buyer", spec_of("waiting"), 1.0, 10)
    await book.accepted("begun")
    await book.end(await book.accepted("ended"), RequestStatus.REFUSED)
    signed = await book.recorded(await book.accepted("signed"))
    other = await open_book(book.ledger, "other")
    await other.accepted("others")
    assert await unfinished(book.ledger) == ["begun", "signed", "others"]
    assert await unfinished(book.ledger, limit=1) == ["begun", "signed", "others"]
    await book.delivered(signed)
    await book.settled(signed)
    assert "signed" in await unfinished(book.ledger)  # its money is settled, its end is not recorded
    await book.end(signed.request_key, RequestStatus.DELIVERED)
    assert await unfinished(book.ledger) == ["begun", "others"]


async def test_what_was_begun_just_now_is_left_to_its_agent(book: Book, database_url: str) -> None:
    await book.recorded(await book.accepted("young"))
    assert await unfinished(book.ledger, older_than_s=30) == []
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE priority_queue SET processed_at = processed_at - interval '31 s'")
    assert await unfinished(book.ledger, older_than_s=30) == ["young"]


async def test_an_unfinished_request_has_all_that_its_workflow_starts_with(book: Book) -> None:
    await book.ledger.requests.accept("buyer", spec_of("post", method="POST"), 1.0, 10)
    await book.ledger.requests.begin(book.key("post"))
    (row,) = await book.ledger.requests.unfinished(older_than_s=0, after=None, limit=10)
    assert (row.order.agent, row.order.request_key) == ("buyer", x402_request_id("buyer", "post"))
    assert (row.order.method, row.order.url) == ("POST", spec_of("post").url)
