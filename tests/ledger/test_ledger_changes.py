"""Waiting for the ledger to change, as `request` waits for its result."""

import asyncio
import time

import psycopg
import pytest

from autopay.adapters.ledger_changes import LONGEST_PAUSE_S, LedgerChanges, ledger_changes
from autopay.domain.errors import LedgerUnavailable
from tests.ledger.books import Book

LONG_S = 600
PATIENCE_S = 30
SHORT_S = 0.01


async def ends(changes: LedgerChanges) -> None:
    """See that a wait of ten minutes ends soon."""
    await asyncio.wait_for(changes.wait(LONG_S), PATIENCE_S)


async def test_a_commit_ends_the_wait(book: Book) -> None:
    async with ledger_changes(book.ledger.events.listening) as changes:
        waiting = asyncio.create_task(ends(changes))
        await book.accepted("one")
        await waiting


async def test_a_commit_between_two_waits_ends_the_second(book: Book) -> None:
    async with ledger_changes(book.ledger.events.listening) as changes:
        await changes.wait(SHORT_S)
        await book.accepted("one")
        await ends(changes)


async def test_who_is_woken_in_vain_again_and_again_rests_in_between() -> None:
    async def woken(_: float) -> bool:
        return True

    changes = LedgerChanges(woken)
    for _ in range(10):
        await changes.wait(LONG_S)
    began = time.monotonic()
    await changes.wait(LONG_S)
    assert time.monotonic() - began > LONGEST_PAUSE_S / 2
    changes.was_useful()
    began = time.monotonic()
    await changes.wait(LONG_S)
    assert time.monotonic() - began < LONGEST_PAUSE_S / 2


async def test_without_a_connection_to_listen_on_the_ledger_is_looked_at_from_time_to_time(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused() -> None:
        raise LedgerUnavailable("too many connections")

    monkeypatch.setattr(book.ledger.events, "listening", refused)
    async with ledger_changes(book.ledger.events.listening) as changes:
        await changes.wait(SHORT_S)


async def test_a_connection_that_is_lost_ends_the_wait_and_then_the_ledger_is_looked_at(
    book: Book, database_url: str
) -> None:
    async with ledger_changes(book.ledger.events.listening) as changes:
        waiting = asyncio.create_task(ends(changes))
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND query LIKE 'LISTEN%'"
            )
        await waiting
        await changes.wait(SHORT_S)
