"""The owner of an agent's money: the key that signs, the wallet in the ledger, and notifying the agent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from autopay.cli.connect.connections import agent_handle, node_rpc
from autopay.cli.terminal.exit_codes import CommandError
from autopay.cli.terminal.files import read_keypair
from autopay.client.errors import AgentNotRunning, AutopayError
from autopay.domain.agent.records import AgentRecord
from autopay.domain.errors import SettingsError, TransientFault
from autopay.domain.phase import Phase
from autopay.settings import Settings
from autopay.settings.stack_file import OWNER_FILE

if TYPE_CHECKING:
    from solders.keypair import Keypair

    from autopay.adapters.postgres import PostgresLedger
    from autopay.adapters.solana.owner.grant import GrantTerms
    from autopay.adapters.solana.owner.owner_transaction import OwnerNode


@asynccontextmanager
async def owner_node(settings: Settings) -> AsyncIterator[OwnerNode]:
    """A connection to the chain for owners' transactions, closed at the end."""
    from autopay.adapters.solana.owner.owner_transaction import OwnerNode

    async with node_rpc(settings) as rpc:
        yield OwnerNode(rpc)


async def owner_key(settings: Settings, keypair: Path | None, terms: Sequence[GrantTerms]) -> Keypair:
    """The key of the wallet that grants; on the embedded chain a test wallet, given fresh money for these terms."""
    from solders.pubkey import Pubkey

    if keypair is not None:
        return read_keypair(keypair)
    if not settings.on_localnet:
        raise CommandError("--owner-keypair FILE is needed on this network: the owner signs what the agent may spend")
    from localnet.tokens import ensure_sol, faucet

    owner = stack_owner(settings)
    await ensure_sol(settings.solana_rpc_url, owner.pubkey())
    for each in terms:
        mint = Pubkey.from_string(each.mint)
        await faucet(settings.solana_rpc_url, owner.pubkey(), mint, each.allowance_atomic)
    return owner


def key_of_owner(settings: Settings, keypair: Path | None, owner: str) -> Keypair | None:
    """The key of exactly that wallet, from the file or the embedded stack; None when neither was given.

    Raises:
        CommandError: the file holds another wallet's key.
    """
    if keypair is not None:
        key = read_keypair(keypair)
        if str(key.pubkey()) != owner:
            raise CommandError(
                f"--owner-keypair {keypair} is the key of {key.pubkey()}, but the money belongs to {owner}: use its key"
            )
        return key
    if settings.on_localnet and (key := stack_owner(settings)) and str(key.pubkey()) == owner:
        return key
    return None


def stack_owner(settings: Settings) -> Keypair:
    """The test wallet of the embedded stack."""
    from localnet.tokens import load_or_create_keypair

    return load_or_create_keypair(settings.home / OWNER_FILE)


async def known_wallet(ledger: PostgresLedger, name: str, wallet: str, phase: Phase = Phase.DEMO) -> AgentRecord:
    """The agent whose money is in that wallet; a new one is made when there is none of that name.

    Raises:
        CommandError: the agent belongs to another wallet.
    """
    agent = await ledger.agents.create(name, phase, wallet)
    if agent.wallet_address and agent.wallet_address != wallet:
        raise CommandError(
            f"agent {name!r} belongs to wallet {agent.wallet_address}, not to {wallet}: "
            "use that wallet's --owner-keypair, or another name"
        )
    await ledger.agents.set_wallet(name, wallet)
    return agent


async def notify_agent(settings: Settings, name: str) -> str | None:
    """Make a running agent read its balances now; returns why that was not possible, or None."""
    try:
        await (await agent_handle(settings, name)).signal("check_balances")
    except AgentNotRunning:
        return f"agent {name} is not running"
    except (TransientFault, AutopayError, SettingsError) as error:
        return f"agent {name} could not be notified and will find out by itself: {error}"
    return None
