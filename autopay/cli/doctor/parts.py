"""What the checks look at: settings, and the connections that they share. Nothing is written over any of them."""

from __future__ import annotations

import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from autopay.adapters.postgres import PostgresLedger, open_ledger
from autopay.adapters.solana.chain import SolanaChain
from autopay.adapters.solana.rpc import NodeRpc
from autopay.settings import Settings

if TYPE_CHECKING:
    from temporalio.client import Client

NODE_TIMEOUT_S = 5.0


@dataclass
class Parts:
    """Shared by all checks; what is None or "" is not set.

    Args:
        settings: resolved ones.
        loaded: the same before an embedded stack's addresses were filled in.
        ledger: the database, in transactions that cannot write.
        rpc: the Solana node; `chain` asks over it.
        now: this machine's clock, in seconds since 1970.
        free_bytes: of the disk that a path is on.
        client: Temporal, as soon as the check `temporal` has connected.
    """

    settings: Settings
    loaded: Settings
    ledger: PostgresLedger | None
    rpc: NodeRpc | None
    now: Callable[[], float] = time.time
    free_bytes: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free
    client: Client | None = field(default=None)

    @property
    def chain(self) -> SolanaChain:
        """The chain, for checks that need the node."""
        return SolanaChain(self.node)

    @property
    def node(self) -> NodeRpc:
        """The node, for checks that need it."""
        assert self.rpc is not None, "the check of the node comes before"
        return self.rpc

    @property
    def books(self) -> PostgresLedger:
        """The ledger, for checks that need it."""
        assert self.ledger is not None, "the check of the database comes before"
        return self.ledger

    @property
    def temporal(self) -> Client:
        """Temporal, for checks that need it."""
        assert self.client is not None, "the check of Temporal comes before"
        return self.client

    @asynccontextmanager
    async def reading_ledger(self) -> AsyncIterator[PostgresLedger]:
        """The ledger as the role of AUTOPAY_READ_DATABASE_URL, which may read more than a worker; else the same one."""
        url = self.settings.read_database_url
        if not url:
            yield self.books
            return
        ledger = open_ledger(url, reads_only=True)
        try:
            yield ledger
        finally:
            await ledger.dispose()


@asynccontextmanager
async def open_parts(settings: Settings, loaded: Settings) -> AsyncIterator[Parts]:
    """The parts for these settings; connections are made when a check needs them, and closed at the end."""
    ledger = open_ledger(settings.database_url, reads_only=True) if settings.database_url else None
    url = settings.solana_rpc_url
    rpc = NodeRpc(url, settings.network, NODE_TIMEOUT_S) if url else None
    try:
        yield Parts(settings, loaded, ledger, rpc)
    finally:
        if ledger is not None:
            await ledger.dispose()
        if rpc is not None:
            await rpc.close()
