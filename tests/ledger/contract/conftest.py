"""The same tests on both stores of the ledger: PostgreSQL's, and the in-memory one of the simulation."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from random import Random

import pytest

from autopay.adapters.postgres import open_ledger
from tests.ledger.books import AnyBook, open_book
from tests.ledger.stores import AnyLedger
from tests.ledger.terms import as_owner_of_the_database
from tests.ledger.test_migrations import execute
from tests.world.clock import now_ms
from tests.world.faults import Faults
from tests.world.ledger import MemoryLedger
from tests.world.ledger_policies import DAY_MS
from tests.world.trace import Trace

MIDNIGHT = "date_trunc('day', now(), 'UTC')"


@dataclass(frozen=True)
class Store:
    """A ledger, and how time passes in it."""

    ledger: AnyLedger
    expire_questions: Callable[[], None]
    """Every question to a person is over."""

    move_payments: Callable[[bool], None]
    """Every payment was recorded at the beginning of today, or, when False, just before."""


@pytest.fixture(params=["postgres", "memory"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """A ledger of this test's own."""
    if request.param == "memory":
        yield in_memory()
        return
    url: str = request.getfixturevalue("database_url")
    ledger = open_ledger(url)

    def expire_questions() -> None:
        as_owner_of_the_database(url, "approvals", "expires_at = now() - interval '1 second'")

    def move_payments(today: bool) -> None:
        at = MIDNIGHT if today else f"{MIDNIGHT} - interval '1 microsecond'"
        as_owner_of_the_database(url, "transactions", f"created_at = {at}")
        execute(url, "SELECT recount_usage()")

    yield Store(ledger, expire_questions, move_payments)
    await ledger.dispose()


def in_memory() -> Store:
    """Without faults, and without the time that a database takes."""
    ledger = MemoryLedger(Faults(Random(1), Trace()), latency_ms=0)  # noqa: S311

    def expire_questions() -> None:
        for each in ledger.store.approvals:
            each.expires_at_ms = now_ms() - 1_000

    def move_payments(today: bool) -> None:
        midnight = now_ms() // DAY_MS * DAY_MS
        for each in ledger.store.attempts.values():
            each.recorded_at_ms = midnight if today else midnight - 1

    return Store(ledger, expire_questions, move_payments)


@pytest.fixture
def ledger(store: Store) -> AnyLedger:
    """The store's ledger."""
    return store.ledger


@pytest.fixture
async def book(ledger: AnyLedger) -> AnyBook:
    """An agent with an ACTIVE session of 1 USDC and 1000 payments."""
    return await open_book(ledger)
