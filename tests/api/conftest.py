"""The API over a ledger of the test's own, asked in process; Temporal and the chain do not answer."""

from collections.abc import AsyncIterator

import httpx
import pytest

from autopay.adapters.postgres import PostgresLedger
from autopay.adapters.vault import Keyring
from autopay.api.app import create_app
from autopay.api.services import Services, open_services
from autopay.settings import Settings
from tests.ledger.books import Book, open_book

NOWHERE = "127.0.0.1:1"


@pytest.fixture
async def book(ledger: PostgresLedger) -> Book:
    """An agent with an ACTIVE session of 1 USDC and 1000 payments."""
    return await open_book(ledger)


@pytest.fixture
def settings(database_url: str, no_settings: None, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a server whose ledger alone answers."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", NOWHERE)
    monkeypatch.setenv("AUTOPAY_DATABASE_URL", database_url)
    monkeypatch.setenv("AUTOPAY_KEYRING", Keyring.generate().dump())
    monkeypatch.setenv("AUTOPAY_SOLANA_RPC_URL", f"http://{NOWHERE}")
    return Settings.load().resolve()


@pytest.fixture
async def services(settings: Settings) -> AsyncIterator[Services]:
    """What the application works with."""
    async with open_services(settings) as opened:
        yield opened


@pytest.fixture
async def api(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application behind its guard, in this process."""
    transport = httpx.ASGITransport(services.access.gate(create_app(services)), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        yield client
