"""Where readings come from: a ledger that is only read, and Temporal, each connected when it is needed first."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autopay.adapters.postgres import open_ledger
from autopay.client.requests.connections import Connections

if TYPE_CHECKING:
    from autopay.adapters.postgres import PostgresLedger
    from autopay.settings import Settings


@dataclass(frozen=True)
class Sources:
    """What a reading asks.

    Args:
        ledger: read, never written.
        connections: Temporal and the agents there.
        settings: resolved ones.
    """

    ledger: PostgresLedger
    connections: Connections
    settings: Settings


@asynccontextmanager
async def open_sources(settings: Settings) -> AsyncIterator[Sources]:
    """The sources that the settings name, closed at the end."""
    connections = Connections(settings)
    ledger = open_ledger(settings.read_database_url or settings.database_url, reads_only=True)
    try:
        yield Sources(ledger, connections, settings)
    finally:
        await ledger.dispose()
        await connections.close()
