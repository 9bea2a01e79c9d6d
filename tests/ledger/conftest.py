"""A book: an agent with a session that may pay."""

import pytest

from autopay.adapters.postgres import PostgresLedger
from tests.ledger.books import Book, open_book


@pytest.fixture
async def book(ledger: PostgresLedger) -> Book:
    """An agent with an ACTIVE session of 1 USDC and 1000 payments."""
    return await open_book(ledger)
