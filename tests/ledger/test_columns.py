"""What only PostgreSQL's columns and reports show of a payment; what it may do is in `contract/`."""

import psycopg
import pytest

from autopay.adapters.postgres import PostgresLedger
from autopay.domain.errors import UnknownAgent
from autopay.domain.network import Network
from autopay.domain.payment.exchange import Reply, UnpaidReply
from autopay.domain.payment.settlement import verification_hash
from autopay.domain.policy.policy import Policy
from autopay.domain.request import RequestError, RequestStatus
from tests.ledger.books import JSON_REPLY, Book
from tests.ledger.terms import accepted, asked, decide, interactive, paid


async def test_an_error_is_stored_without_what_postgresql_refuses(book: Book) -> None:
    key = await book.accepted()
    error = RequestError(type="price", message="too\0 much")
    ended = (await book.ledger.requests.result(key)).model_copy(
        update={"status": RequestStatus.REFUSED, "error": error}
    )
    await book.ledger.requests.close(key, ended)
    assert (await book.ledger.requests.result(key)).error == RequestError(type="price", message="too\ufffd much")


async def test_the_timeline_shows_delivery_and_the_verification_hash(book: Book) -> None:
    attempt = await book.recorded()
    settlement = await book.settled(attempt)
    await book.end(attempt.request_key, RequestStatus.UNDELIVERED)
    (row,) = await book.ledger.reports.timeline()
    assert (row.delivery, row.verification_hash) == ("UNDELIVERED", verification_hash(Network.DEVNET, settlement))


async def test_the_timeline_shows_why_a_payment_failed(book: Book) -> None:
    attempt = await book.recorded()
    for reason in ("landed_with_error", "expired_unsettled"):
        await book.ledger.payments.record_dead(attempt.attempt_id, reason)
    (row,) = await book.ledger.reports.timeline()
    assert (row.status, row.error_type, row.error_code) == ("FAILED", "REJECTED", "landed_with_error")


async def test_an_approval_names_the_attempt_that_used_it(book: Book, database_url: str) -> None:
    await interactive(book)
    key = await accepted(book)
    assert await decide(book, await asked(book, key=key), approve=True) is None
    attempt = await paid(book, key=key)
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT attempt_id FROM approvals").fetchone() == (attempt.attempt_id,)


async def test_the_database_keeps_no_key_of_a_session_that_has_ended(book: Book, database_url: str) -> None:
    await book.ledger.sessions.end(book.session_id)
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT session_token FROM sessions").fetchone() == ("",)


async def test_nobody_has_balances_of_an_unknown_agent(book: Book) -> None:
    with pytest.raises(UnknownAgent, match="nobody"):
        await book.ledger.agents.balances("nobody")


async def test_the_state_of_the_sellers_breaker_is_kept_with_the_request(book: Book) -> None:
    first, key = await book.accepted("first"), await book.accepted("plain")
    await book.ledger.requests.record_plain(first, UnpaidReply(reply=JSON_REPLY, breaker="HALF_OPEN"))
    await book.ledger.requests.record_plain(key, UnpaidReply(reply=Reply(http_status=404)))
    async with book.ledger.database.engine.connect() as db:
        rows = await db.exec_driver_sql("SELECT request_id, circuit_breaker_state FROM api_request_logs ORDER BY 1")
        assert {row.request_id: row.circuit_breaker_state for row in rows} == {"first": "HALF_OPEN", "plain": None}


async def test_an_agents_own_policy_replaces_everyones_and_the_newest_holds(ledger: PostgresLedger) -> None:
    await ledger.agents.create("buyer")
    held = await ledger.policies.in_force("buyer")
    assert (held.policy, held.own, held.set_at) == (Policy(), False, None)
    await ledger.policies.set(Policy(per_request_atomic=1))
    held = await ledger.policies.in_force("buyer")
    assert (held.policy.per_request_atomic, held.own) == (1, False)
    for limit in (2, 2, 3):
        await ledger.policies.set(Policy(per_request_atomic=limit), "buyer")
    await ledger.policies.set(Policy(per_request_atomic=4))
    held = await ledger.policies.in_force("buyer")
    assert (held.policy.per_request_atomic, held.own) == (3, True)
    default, set_at = await ledger.policies.default()
    assert (default.per_request_atomic, set_at is not None) == (4, True)
