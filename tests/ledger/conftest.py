"""A book: an agent with a session that may pay; and somebody with a shell."""

from pathlib import Path

import pytest

from autopay.adapters.postgres import PostgresLedger
from autopay.adapters.vault import Keyring
from tests.ledger.books import Book, open_book
from tests.ledger.operator import Operator


@pytest.fixture
async def book(ledger: PostgresLedger) -> Book:
    """An agent with an ACTIVE session of 1 USDC and 1000 payments."""
    return await open_book(ledger)


@pytest.fixture
def operator(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Operator:
    """Somebody with a shell and a migrated database; the chain does not answer."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTOPAY_DATABASE_URL", database_url)
    monkeypatch.setenv("AUTOPAY_KEYRING", Keyring.generate().dump())
    monkeypatch.setenv("AUTOPAY_SOLANA_RPC_URL", "http://127.0.0.1:1")
    return Operator(database_url, capsys)
