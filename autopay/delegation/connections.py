"""What grants and revokes talk to: the ledger, the chain, the vault of the keys, and the agent, to notify it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autopay.client.errors import AgentNotRunning, AutopayError
from autopay.domain.errors import SettingsError, TransientFault
from autopay.domain.money import Currency
from autopay.domain.network import usdc_mint

if TYPE_CHECKING:
    from autopay.adapters.postgres import PostgresLedger
    from autopay.adapters.solana.owner.owner_transaction import OwnerNode
    from autopay.adapters.vault import Vault
    from autopay.client.agents.handle import AgentHandle
    from autopay.settings import Settings

NODE_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class OwnerConnections:
    """The ledger and the chain, in which a block comes about every `slot_ms`."""

    ledger: PostgresLedger
    node: OwnerNode
    slot_ms: int


@asynccontextmanager
async def owner_node(settings: Settings) -> AsyncIterator[OwnerNode]:
    """A connection to the chain for owners' transactions, closed at the end."""
    from autopay.adapters.solana.owner.owner_transaction import OwnerNode
    from autopay.adapters.solana.rpc import NodeRpc

    async with NodeRpc(settings.solana_rpc_url, settings.network, NODE_TIMEOUT_S) as rpc:
        yield OwnerNode(rpc)


async def vault_for(ledger: PostgresLedger, settings: Settings) -> Vault:
    """The vault that seals what is recorded in that ledger.

    Raises:
        SettingsError: its keyring is another one than the ledger's.
    """
    from autopay.adapters.vault import Vault
    from autopay.temporal.connection import keyring_of

    keyring = keyring_of(settings)
    refused = await ledger.keys.refuse_or_register(keyring)
    if refused is not None:
        raise SettingsError(refused)
    return Vault(keyring)


def mint_of(settings: Settings, currency: Currency) -> str:
    """The currency's mint on this network."""
    mint = usdc_mint(settings.network) if currency is Currency.USDC else settings.cash_mint
    if not mint:
        raise SettingsError(f"AUTOPAY_CASH_MINT is not set: CASH has no public mint on {settings.network}")
    return mint


async def notify_agent(
    name: str,
    handle: Awaitable[AgentHandle],
    tell: Callable[[TransientFault | AutopayError | SettingsError], str] = str,
) -> str | None:
    """Make a running agent read its balances now; returns why that was not possible, or None.

    Args:
        name: the agent.
        handle: its handle.
        tell: what is told of an error, in words.
    """
    try:
        await (await handle).signal("check_balances")
    except AgentNotRunning:
        return f"agent {name} is not running"
    except (TransientFault, AutopayError, SettingsError) as error:
        return f"agent {name} could not be notified and will find out by itself: {tell(error)}"
    return None
