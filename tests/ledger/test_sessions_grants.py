"""Sessions that wait for their owner, whom they may pay, and what is left of them when many want it at once."""

import asyncio
import os
import random
import secrets
from contextlib import AsyncExitStack
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import make_url

from autopay.adapters.postgres import PostgresLedger, open_ledger
from autopay.adapters.postgres.sessions.scope import host_refusal
from autopay.adapters.postgres.tables.core import SessionRow
from autopay.domain.errors import LedgerUnavailable
from autopay.domain.money import Currency, to_units
from autopay.domain.payment.attempt import RecordedAttempt
from autopay.domain.refusal import RefusalReason, Refused
from autopay.domain.session import OpenSession, OwnerTransaction, SessionRecord
from tests.ledger.books import PRICE, Book, new_session, open_book

WORKERS = 4
LOOK_S = 0.005
"""Between two looks at what is booked: a reservation takes longer, and the looks must not take its time."""


def asked(message: str = "first", does: str = "grant") -> OwnerTransaction:
    return OwnerTransaction.model_validate({"does": does, "message": message, "last_valid_block_height": 9})


async def waiting(ledger: PostgresLedger, agent: str = "buyer", **changes: object) -> UUID:
    """A session that its owner has not granted yet."""
    await ledger.agents.create(agent)
    session_id = uuid4()
    values = {"owner_transaction": asked()} | changes
    await ledger.sessions.create(new_session(session_id, agent=agent, **values))
    return session_id


async def paying(ledger: PostgresLedger, agent: str = "buyer") -> UUID | str:
    """The session that pays now, or why none does."""
    found = await ledger.sessions.current(agent, Currency.USDC)
    return found.key.session_id if isinstance(found, OpenSession) else found.message


async def record_of(ledger: PostgresLedger, session_id: UUID) -> SessionRecord:
    record = await ledger.sessions.get(session_id)
    assert record is not None
    return record


async def test_a_session_pays_nothing_before_the_chain_shows_its_grant(ledger: PostgresLedger) -> None:
    session_id = await waiting(ledger)
    assert await paying(ledger) == (
        f"the agent's session waits for its owner's signature: autopay session submit {session_id}"
    )
    book = Book(ledger, "buyer", session_id)
    refused = await book.reserve(await book.accepted())
    assert isinstance(refused, Refused)
    assert refused.reason is RefusalReason.SESSION_MISSING
    assert await ledger.sessions.mark_granted(session_id)
    assert await paying(ledger) == session_id
    await book.recorded()


async def test_a_session_that_waits_ends_the_older_one_when_it_is_granted_and_not_before(book: Book) -> None:
    newer = await waiting(book.ledger)
    assert await paying(book.ledger) == book.session_id
    await book.recorded()
    assert await book.ledger.sessions.mark_granted(newer)
    assert await paying(book.ledger) == newer
    assert (await record_of(book.ledger, book.session_id)).status == "EXPIRED"


async def test_granted_twice_is_granted_once_and_leaves_other_currencies(ledger: PostgresLedger) -> None:
    cash = await open_book(ledger, currency=Currency.CASH)
    session_id = await waiting(ledger)
    assert await ledger.sessions.mark_granted(session_id)
    first = await record_of(ledger, session_id)
    assert await ledger.sessions.mark_granted(session_id)
    assert await record_of(ledger, session_id) == first
    assert (await record_of(ledger, cash.session_id)).status == "ACTIVE"


async def test_a_session_lasts_from_its_grant_on_however_long_its_owner_took(
    ledger: PostgresLedger, database_url: str
) -> None:
    session_id = await waiting(ledger, duration_s=0)
    assert "waits for its owner" in str(await paying(ledger))
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT status, session_token FROM sessions").fetchone() == ("ACTIVE", "sealed key")
    before = (await record_of(ledger, session_id)).expires_at
    await ledger.sessions.mark_granted(session_id)
    assert (await record_of(ledger, session_id)).expires_at > before


async def test_a_session_that_was_ended_while_it_waited_is_not_granted(ledger: PostgresLedger) -> None:
    session_id = await waiting(ledger)
    await ledger.sessions.end(session_id)
    assert not await ledger.sessions.mark_granted(session_id)
    assert not await ledger.sessions.await_owner(session_id, asked("again"))
    assert (await record_of(ledger, session_id)).status == "REVOKED"


async def test_what_the_owner_is_asked_to_sign_last_is_what_counts(ledger: PostgresLedger) -> None:
    session_id = await waiting(ledger)
    found = await ledger.sessions.awaiting("first")
    assert found is not None
    assert found.session_id == session_id
    assert await ledger.sessions.await_owner(session_id, asked("second"))
    assert await ledger.sessions.awaiting("first") is None
    assert (await record_of(ledger, session_id)).owner_transaction == asked("second")
    await ledger.sessions.mark_granted(session_id)
    assert await ledger.sessions.awaiting("second") is None
    assert not await ledger.sessions.await_owner(session_id, asked("third"))


async def test_an_ended_session_can_wait_for_its_owner_to_take_the_money_back(book: Book) -> None:
    await book.ledger.sessions.end(book.session_id)
    assert await book.ledger.sessions.await_owner(book.session_id, asked("back", "revoke"))
    assert (await record_of(book.ledger, book.session_id)).granted
    await book.ledger.sessions.clear_owner_transaction(book.session_id)
    assert (await record_of(book.ledger, book.session_id)).owner_transaction is None


async def test_a_record_tells_spent_from_reserved(book: Book) -> None:
    await book.settled(await book.recorded())
    await book.recorded(amount=5)
    dead = await book.recorded(amount=7)
    await book.ledger.payments.record_dead(dead.attempt_id, "expired_unsettled")
    record = await record_of(book.ledger, book.session_id)
    assert (record.spent_atomic, record.reserved_atomic, record.payments, record.open_payments) == (
        PRICE,
        PRICE + 5,
        2,
        1,
    )
    assert await book.ledger.sessions.list() == await book.ledger.sessions.list("buyer") == [record]


@pytest.mark.parametrize(
    ("hosts", "host", "allowed"),
    [
        ([], "anybody.test", True),
        (["api.test"], "api.test:443", True),
        (["api.test:8443"], "api.test:443", False),
        (["*.test"], "api.test", True),
        (["*.test"], "test", False),
        (["api.test"], "evil-api.test", False),
    ],
)
async def test_a_session_pays_the_hosts_of_its_scope_only(
    ledger: PostgresLedger, hosts: list[str], host: str, allowed: bool
) -> None:
    session_id = await waiting(ledger, hosts=hosts)
    assert (await record_of(ledger, session_id)).hosts == tuple(hosts)
    async with ledger.database.transaction() as db:
        refused = host_refusal(await db.get_one(SessionRow, session_id), host)
    assert (refused is None) is allowed
    assert refused is None or refused.reason is RefusalReason.HOST_NOT_ALLOWED


async def test_one_at_a_time_has_its_turn_with_an_agent(ledger: PostgresLedger, database_url: str) -> None:
    inside, most = 0, 0

    async def grant(opened: PostgresLedger) -> None:
        nonlocal inside, most
        async with opened.sessions.lock_agent("buyer"):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    async with AsyncExitStack() as stack:
        others = [open_ledger(database_url) for _ in range(3)]
        for other in others:
            stack.push_async_callback(other.dispose)
        async with ledger.sessions.lock_agent("somebody else"):
            await asyncio.gather(*(grant(each) for each in others * 2))
    assert most == 1


async def test_a_turn_ends_with_its_connection(ledger: PostgresLedger, database_url: str) -> None:
    other = open_ledger(database_url)
    async with other.sessions.lock_agent("buyer"):
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
        async with ledger.sessions.lock_agent("buyer"):
            pass
    await other.dispose()


async def test_a_turn_that_no_database_gives_is_a_fault(postgres_url: str) -> None:
    away = open_ledger(make_url(postgres_url).set(database="nowhere").render_as_string(hide_password=False))
    with pytest.raises(LedgerUnavailable):
        await away.sessions.lock_agent("buyer").__aenter__()
    await away.dispose()


async def test_many_workers_never_take_more_than_the_session_has_and_the_unknown_counts_as_spent(
    ledger: PostgresLedger, database_url: str
) -> None:
    """Workers reserve, learn of outcomes or never do; somebody else adds up what is not proven dead all the while."""
    seed = int(os.environ.get("AUTOPAY_TEST_SEED") or secrets.randbits(32))
    chance = random.Random(seed)  # noqa: S311
    async with AsyncExitStack() as stack:
        workers = [open_ledger(database_url) for _ in range(WORKERS)]
        for worker in workers:
            stack.push_async_callback(worker.dispose)
        for round_number in range(2):
            allowance, tx_limit = chance.randrange(3 * PRICE, 20 * PRICE), chance.randrange(3, 15)
            book = await open_book(ledger, f"agent-{round_number}", allowance=allowance, tx_limit=tx_limit)
            jobs = [(await book.accepted(), chance.randrange(1, 3 * PRICE), chance.random()) for _ in range(32)]
            watch = asyncio.create_task(_watch(database_url, book.session_id, allowance, tx_limit))
            results = await asyncio.gather(
                *(
                    _work(Book(workers[number % WORKERS], book.agent, book.session_id), *job)
                    for number, job in enumerate(jobs)
                )
            )
            watch.cancel()
            broken = (await asyncio.gather(watch, return_exceptions=True))[0]
            assert isinstance(broken, asyncio.CancelledError), f"seed {seed}: {broken}"
            record = await record_of(ledger, book.session_id)
            alive = [attempt for attempt in results if attempt is not None]
            assert record.reserved_atomic == sum(attempt.amount_atomic for attempt in alive), f"seed {seed}"
            assert record.payments == len(alive) <= tx_limit, f"seed {seed}"


async def _work(book: Book, key: str, amount: int, fate: float) -> RecordedAttempt | None:
    """One request, until its payment is settled or unknown, or it is refused; the attempt that counts, if any."""
    for number in (1, 2, 3):
        attempt = await book.reserve(key, number, amount)
        if not isinstance(attempt, RecordedAttempt):
            return None
        await book.ledger.payments.record_sending(attempt.attempt_id)
        if fate < 1 / 3:
            await book.settled(attempt)
            return attempt
        if fate < 2 / 3 or number == 3:
            return attempt
        await book.ledger.payments.record_dead(attempt.attempt_id, "expired_unsettled")
    return None


async def _watch(database_url: str, session_id: UUID, allowance: int, tx_limit: int) -> None:
    query = "SELECT count(*), coalesce(sum(amount), 0) FROM transactions WHERE session_id = %s AND status <> 'FAILED'"
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        while True:
            row = await (await connection.execute(query, (session_id,))).fetchone()
            assert row is not None
            assert row[0] <= tx_limit
            assert row[1] <= to_units(allowance)
            await asyncio.sleep(LOOK_S)
