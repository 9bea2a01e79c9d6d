"""What a command connects to, from its settings: the ledger, the vault, the chain, Temporal and an agent there.

The libraries for them are imported by the function that connects: a command that prints its help or refuses its
arguments needs none of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from autopay.cli.terminal.exit_codes import CommandError
from autopay.cli.terminal.options import agent_name
from autopay.domain.errors import UnknownAgent
from autopay.domain.text.command_line import command_line

if TYPE_CHECKING:
    from temporalio.client import Client

    from autopay.adapters.postgres import PostgresLedger
    from autopay.adapters.solana.rpc import NodeRpc
    from autopay.adapters.vault import Vault
    from autopay.client.agents.handle import AgentHandle
    from autopay.domain.agent.records import AgentRecord
    from autopay.settings import Settings

NODE_TIMEOUT_S = 30.0


@asynccontextmanager
async def ledger_of(settings: Settings, agent: str | None = None) -> AsyncIterator[PostgresLedger]:
    """The ledger, closed at the end; `CommandError` when an agent is named that it does not know."""
    from autopay.adapters.postgres import open_ledger

    ledger = open_ledger(settings.database_url)
    try:
        if agent is not None:
            await known_agent(ledger, agent)
        yield ledger
    finally:
        await ledger.dispose()


@asynccontextmanager
async def ledger_and_temporal(settings: Settings) -> AsyncIterator[tuple[PostgresLedger, Client]]:
    """Both, once both have answered and are as this version needs them: before money is granted on chain.

    Raises:
        NotMigrated: the database is not at this version's schema.
        AttributesMissing: Temporal lacks our search attributes.
    """
    client = await temporal_of(settings)
    async with ledger_of(settings) as ledger:
        await ledger.maintenance.check_schema()
        yield ledger, client


async def temporal_of(settings: Settings, ledger: PostgresLedger | None = None) -> Client:
    """A client of Temporal, for the keyring of that ledger if it is open already; see `connection.connect`."""
    from autopay.temporal.connection import connect

    return await connect(settings, keys=None if ledger is None else ledger.keys)


async def agent_handle(settings: Settings, name: str) -> AgentHandle:
    """The handle of the agent of that name, at the Temporal of the settings."""
    from autopay.client.agents.handle import AgentHandle

    settings = settings.resolve("home")
    return AgentHandle(await temporal_of(settings), agent_name(name), settings.task_queue)


async def update_agent(settings: Settings, name: str, update: str, argument: Any) -> Any:
    """Send one update to an agent; see `AgentHandle.update`."""
    return await (await agent_handle(settings, name)).update(update, argument)


def node_rpc(settings: Settings) -> NodeRpc:
    """A client of the Solana node, to be closed."""
    from autopay.adapters.solana.rpc import NodeRpc

    return NodeRpc(settings.solana_rpc_url, settings.network, NODE_TIMEOUT_S)


def vault_of(settings: Settings) -> Vault:
    """The vault that seals what this command records."""
    from autopay.adapters.vault import Vault
    from autopay.temporal.connection import keyring_of

    return Vault(keyring_of(settings))


async def known_agent(ledger: PostgresLedger, name: str) -> AgentRecord:
    """The agent as the ledger has it, or an error that says what to do."""
    try:
        return await ledger.agents.get(name)
    except UnknownAgent:
        raise CommandError(f"there is no agent {name!r}; see: {command_line('agents')}") from None
