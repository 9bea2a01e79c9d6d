"""The owner of an agent's money: the key that signs when it is at hand, and notifying the agent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from autopay.cli.connect.connections import agent_handle
from autopay.cli.terminal.exit_codes import CommandError
from autopay.cli.terminal.files import read_keypair
from autopay.delegation import connections
from autopay.settings import Settings
from autopay.settings.stack_file import OWNER_FILE

if TYPE_CHECKING:
    from solders.keypair import Keypair

    from autopay.adapters.solana.owner.grant import GrantTerms


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


async def notify_agent(settings: Settings, name: str) -> str | None:
    """Make a running agent read its balances now; returns why that was not possible, or None."""
    return await connections.notify_agent(name, agent_handle(settings, name))
