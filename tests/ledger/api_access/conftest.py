"""One ledger for each file here, and applications behind their guards."""

from collections.abc import AsyncIterator

import pytest

from autopay.adapters.postgres import PostgresLedger, open_ledger
from tests.databases import Databases
from tests.ledger.api_access.scene import PUBLIC, Served, served


@pytest.fixture(scope="module")
async def books(databases: Databases) -> AsyncIterator[PostgresLedger]:
    """One ledger for this file: each test makes its own tokens."""
    name = databases.take()
    ledger = open_ledger(databases._postgres.url(name))
    yield ledger
    await ledger.dispose()
    databases.give_back(name)


@pytest.fixture
def local(books: PostgresLedger) -> Served:
    """As on loopback without tokens."""
    return served(books)


@pytest.fixture
def guarded(books: PostgresLedger) -> Served:
    """As it listens elsewhere, behind a proxy that ends TLS."""
    return served(books, tokens_required=True, allow_hosts=[PUBLIC], any_address=True)
