"""What a caller is connected to: the ledger, the vault and Temporal, each when it is needed first, then kept."""

from __future__ import annotations

import asyncio
from functools import cached_property
from typing import TYPE_CHECKING

from autopay.adapters.answers import AnswerWatch
from autopay.adapters.postgres import PostgresLedger, open_ledger
from autopay.adapters.vault import Vault
from autopay.client.agents.handle import AgentHandle
from autopay.temporal.connection import connect, keyring_of

if TYPE_CHECKING:
    from temporalio.client import Client

    from autopay.settings import Settings


class Connections:
    """One set of connections, for one event loop. End it with `close()`.

    Args:
        settings: resolved ones.
        ledger: when the caller has it open already, and closes it.
    """

    def __init__(self, settings: Settings, ledger: PostgresLedger | None = None) -> None:
        self.settings = settings
        self._is_borrowed = ledger is not None
        self.ledger = ledger or open_ledger(settings.database_url)
        self.answers = AnswerWatch(self.ledger.requests, self.ledger.events.listening)
        self.known_agents = set[str]()
        """Agents that the ledger has, as far as it was asked; none is ever removed from it."""
        self._temporal: asyncio.Task[Client] | None = None

    @cached_property
    def vault(self) -> Vault:
        """Seals headers and bodies. SettingsError: there is no keyring."""
        return Vault(keyring_of(self.settings))

    async def temporal(self) -> Client:
        """The client of Temporal; see `connection.connect` for what it raises, and how long it may take.

        All who ask while it connects wait for the same attempt; after one that failed, the next who asks tries again.
        """
        connecting = self._temporal
        if connecting is None or (connecting.done() and (connecting.cancelled() or connecting.exception())):
            connecting = asyncio.create_task(connect(self.settings, keys=self.ledger.keys))
            connecting.add_done_callback(_look_at)
            self._temporal = connecting
        return await asyncio.shield(connecting)

    async def agent(self, name: str) -> AgentHandle:
        """The handle of that agent, which need not exist."""
        return AgentHandle(await self.temporal(), name, self.settings.task_queue)

    async def close(self) -> None:
        """Close what was opened. Temporal's client has nothing to close."""
        if self._temporal is not None and not self._temporal.done():
            self._temporal.cancel()
            await asyncio.wait((self._temporal,))
        await self.answers.close()
        if not self._is_borrowed:
            await self.ledger.dispose()


def _look_at(connecting: asyncio.Task[Client]) -> None:
    """An attempt that failed after all who waited for it have gone is nobody's fault."""
    if not connecting.cancelled():
        connecting.exception()
