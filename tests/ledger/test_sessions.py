"""Sessions and agents: who may pay, from what, and until when."""

import psycopg
import pytest

from autopay.adapters.postgres import PostgresLedger
from autopay.domain.agent.spec import AgentSpec, SavedAgent
from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.payment.attempt import RecordedAttempt
from autopay.domain.phase import Phase
from autopay.domain.refusal import RefusalReason, Refused
from autopay.domain.session import OpenSession
from tests.ledger.books import PRICE, Book, open_book


async def test_the_scope_is_the_documents(book: Book, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT scope FROM sessions").fetchone()
    assert row == ({"txLimit": 1000, "duration": 3600, "allowance": "1.000000", "currency": "USDC"},)


async def test_an_ended_session_is_expired_each_time_one_asks_and_its_key_is_destroyed(
    ledger: PostgresLedger, database_url: str
) -> None:
    await open_book(ledger, duration_s=0)
    for _ in range(2):
        refused = await ledger.sessions.current("buyer", Currency.USDC)
        assert isinstance(refused, Refused)
        assert refused.reason is RefusalReason.SESSION_EXPIRED
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT status, session_token FROM sessions").fetchone() == ("EXPIRED", "")


async def test_a_new_session_ends_the_old_one_and_leaves_its_open_payments(book: Book) -> None:
    attempt = await book.recorded()
    newer = await open_book(book.ledger)
    session = await book.ledger.sessions.current("buyer", Currency.USDC)
    assert isinstance(session, OpenSession)
    assert session.key.session_id == newer.session_id
    assert [record.status for record in await book.ledger.sessions.list("buyer")] == ["ACTIVE", "EXPIRED"]
    assert isinstance(await book.ledger.payments.attempt(attempt.request_key, 1), RecordedAttempt)
    assert await book.ledger.payments.record_sending(attempt.attempt_id) == 1
    await book.settled(attempt)
    assert (await book.ledger.sessions.booked_up_to(book.session_id, 10**6)).settled_atomic == PRICE


async def test_an_agents_name_is_made_once_and_stays_as_it_is(ledger: PostgresLedger) -> None:
    first = await ledger.agents.create("buyer", Phase.DEMO, "wallet", {"fundsThreshold": 0.05})
    assert await ledger.agents.create("buyer", Phase.FULL, "other") == first
    await ledger.agents.set_phase("buyer", Phase.FULL)
    await ledger.agents.set_wallet("buyer", "new wallet")
    assert await ledger.agents.saved("buyer") is None, "the rules of an earlier release are no agent"
    saved = SavedAgent(spec=AgentSpec(name="buyer", phase=Phase.FULL), pause="lunch")
    await ledger.agents.save(saved)
    assert await ledger.agents.saved("buyer") == saved
    agent = await ledger.agents.get("buyer")
    assert (agent.phase, agent.wallet_address) == ("FULL", "new wallet")
    assert agent.agent_id == first.agent_id


async def test_agents_are_listed_with_what_they_spent(book: Book) -> None:
    await book.ledger.agents.create("another")
    await book.settled(await book.recorded())
    await book.settled(await book.recorded(amount=5))
    await book.recorded()
    idle, buyer = await book.ledger.agents.summaries()
    assert (idle.agent.name, idle.spent_atomic, idle.payments) == ("another", {}, 0)
    assert (buyer.spent_atomic, buyer.payments, buyer.open_payments) == ({Currency.USDC: PRICE + 5}, 2, 1)


async def test_spent_counts_success_and_verified_only(book: Book) -> None:
    await book.settled(await book.recorded())
    dead = await book.recorded()
    await book.ledger.payments.record_dead(dead.attempt_id, "expired_unsettled")
    await book.recorded()
    assert await book.ledger.reports.spent() == {Currency.USDC: PRICE}
    assert await book.ledger.reports.spent("buyer", Network.DEVNET) == {Currency.USDC: PRICE}
    assert await book.ledger.reports.spent(network=Network.MAINNET) == {}


async def test_open_attempts_are_those_without_an_outcome(book: Book) -> None:
    waiting, settled, dead = [await book.recorded() for _ in range(3)]
    await book.settled(settled)
    await book.ledger.payments.record_dead(dead.attempt_id, "expired_unsettled")
    assert [attempt.attempt_id for attempt in await book.ledger.payments.open_attempts()] == [waiting.attempt_id]


async def test_the_timeline_shows_the_newest_first(book: Book) -> None:
    for request_id in ("one", "two", "three"):
        await book.recorded(await book.accepted(request_id))
    rows = await book.ledger.reports.timeline("buyer", limit=2)
    assert [row.request_id for row in rows] == ["three", "two"]
    assert (rows[0].endpoint, rows[0].amount_atomic, rows[0].delivery) == ("/api/market-feed", PRICE, "NONE")


async def test_the_newest_balance_of_each_currency_is_told(book: Book) -> None:
    await book.ledger.agents.record_balance("buyer", Currency.USDC, 5, 10, "PAUSED")
    await book.ledger.agents.record_balance("buyer", Currency.CASH, 7, 10, "LOW")
    await book.ledger.agents.record_balance("buyer", Currency.USDC, 2**64 - 1, 10_000, "SUFFICIENT")
    balances = {record.currency: record for record in await book.ledger.agents.balances("buyer")}
    assert balances[Currency.USDC].balance_atomic == 2**64 - 1
    assert (balances[Currency.USDC].status, balances[Currency.CASH].status) == ("SUFFICIENT", "LOW")


async def test_an_agent_with_payments_cannot_be_removed_and_one_without_takes_its_sessions(
    book: Book, database_url: str
) -> None:
    await open_book(book.ledger, "idle")
    await book.recorded()
    with psycopg.connect(database_url, autocommit=True) as connection:
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            connection.execute("DELETE FROM agents WHERE name = 'buyer'")
        connection.execute("DELETE FROM agents WHERE name = 'idle'")
        assert connection.execute("SELECT count(*) FROM sessions").fetchone() == (1,)


async def test_seeding_twice_brings_the_demo_data_once(ledger: PostgresLedger) -> None:
    for _ in range(2):
        await ledger.maintenance.seed()
    agent = await ledger.agents.get("AutopayDemoAgent")
    assert (agent.phase, agent.wallet_address) == ("DEMO", "devnet_phantom_address_placeholder")
    (balance,) = await ledger.agents.balances("AutopayDemoAgent")
    assert (balance.balance_atomic, balance.status) == (100_000, "SUFFICIENT")
    (row,) = await ledger.reports.timeline()
    assert (row.status, row.error_type, row.hash) == ("FAILED", "INSUFFICIENT_FUNDS", None)
    assert (await ledger.requests.result(row.request_key)).status == "failed"
    assert await ledger.reports.spent() == {}
    assert await ledger.payments.open_attempts() == []


async def test_seeding_leaves_an_agent_of_that_name_as_it_is(ledger: PostgresLedger) -> None:
    await ledger.agents.create("AutopayDemoAgent", Phase.FULL, "mine")
    await ledger.maintenance.seed()
    assert (await ledger.agents.get("AutopayDemoAgent")).wallet_address == "mine"
