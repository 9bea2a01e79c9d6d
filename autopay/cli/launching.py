"""Brings an agent to life: its row in the ledger, a session in each currency, its workflow.

What must not live here: option texts, and what is printed.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from solders.keypair import Keypair
from solders.pubkey import Pubkey
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from autopay.adapters.grant import GrantedSession, grant_session
from autopay.adapters.ledger import PostgresLedger
from autopay.adapters.vault import Vault
from autopay.cli.exits import CommandError
from autopay.cli.places import chain_errors, check_network, mint_of
from autopay.domain.agent import AgentSpec, AgentState, Phase, Watch
from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.ports import AgentRecord
from autopay.domain.request import agent_workflow_id
from autopay.settings import Settings
from autopay.stack_file import OWNER_FILE
from workflows.attributes import agent_attributes


class AlreadyRunning(CommandError):
    """An agent is launched twice."""

    def __init__(self, name: str) -> None:
        super().__init__(f"agent {name!r} is already running: see `starter.py status {name}`, or stop it first")


@dataclass(frozen=True)
class LaunchOrder:
    """What an agent is launched with, and what its sessions may spend; the allowance is per currency."""

    name: str
    phase: Phase
    currencies: tuple[Currency, ...]
    allowance_atomic: int
    tx_limit: int
    duration_s: int
    watches: tuple[Watch, ...] = ()
    owner_keypair: Path | None = None

    def spec(self) -> AgentSpec:
        """What its workflow is started with."""
        return AgentSpec(name=self.name, phase=self.phase, currencies=self.currencies, watches=self.watches)


async def launch_agent(
    settings: Settings, ledger: PostgresLedger, client: Client, vault: Vault, order: LaunchOrder
) -> list[GrantedSession]:
    """Create or find the agent, grant its sessions, start its workflow.

    Raises:
        AlreadyRunning: it was launched before.
        CommandError: there is no owner's key to grant sessions with.
    """
    if order.phase is Phase.DEMO and settings.network is Network.MAINNET:
        raise CommandError("an agent in phase demo never runs on mainnet: use --phase interactive or full")
    if order.phase is Phase.INTERACTIVE:
        raise CommandError("phase interactive needs a person's approvals, which do not exist yet: use demo or full")
    mints = {currency: mint_of(settings, currency) for currency in order.currencies}
    await check_network(settings)
    owner = await _owner(settings, order)
    agent = await _agent_row(ledger, order, owner)
    granted = [
        await grant_session(
            settings.solana_rpc_url,
            ledger,
            vault,
            agent=agent,
            owner=owner,
            currency=currency,
            mint=mint,
            allowance_atomic=order.allowance_atomic,
            tx_limit=order.tx_limit,
            duration_s=order.duration_s,
        )
        for currency, mint in mints.items()
    ]
    await _start_workflow(client, settings.task_queue, order.spec())
    return granted


async def _owner(settings: Settings, order: LaunchOrder) -> Keypair:
    """The wallet whose tokens the agent may spend; on the embedded chain a test wallet with fresh money."""
    if order.owner_keypair is not None:
        return read_keypair(order.owner_keypair)
    if not settings.on_localnet:
        raise CommandError("--owner-keypair FILE is needed on this network: the owner signs what the agent may spend")
    from localnet.tokens import ensure_sol, faucet, load_or_create_keypair  # noqa: PLC0415 (an extra)

    owner = load_or_create_keypair(settings.home / OWNER_FILE)
    with chain_errors():
        await ensure_sol(settings.solana_rpc_url, owner.pubkey())
        for currency in order.currencies:
            mint = Pubkey.from_string(mint_of(settings, currency))
            await faucet(settings.solana_rpc_url, owner.pubkey(), mint, order.allowance_atomic)
    return owner


async def _agent_row(ledger: PostgresLedger, order: LaunchOrder, owner: Keypair) -> AgentRecord:
    wallet = str(owner.pubkey())
    agent = await ledger.create_agent(order.name, order.phase, wallet)
    if agent.wallet_address and agent.wallet_address != wallet:
        raise CommandError(
            f"agent {order.name!r} belongs to wallet {agent.wallet_address}, not to {wallet}: "
            "launch it with that wallet's --owner-keypair, or under another name"
        )
    await ledger.set_wallet(order.name, wallet)
    await ledger.set_phase(order.name, order.phase)
    return await ledger.agent(order.name)


async def _start_workflow(client: Client, task_queue: str, spec: AgentSpec) -> None:
    try:
        await client.start_workflow(
            "Agent",
            spec,
            id=agent_workflow_id(spec.name),
            task_queue=task_queue,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            search_attributes=agent_attributes(spec.name, AgentState.RUNNING.value),
            static_summary=f"agent {spec.name}, phase {spec.phase.value}",
        )
    except WorkflowAlreadyStartedError:
        raise AlreadyRunning(spec.name) from None


def read_keypair(path: Path) -> Keypair:
    """A key in the Solana CLI's format: a JSON list of 64 numbers. Never quoted in an error."""
    try:
        return Keypair.from_bytes(bytes(json.loads(path.expanduser().read_text())))
    except OSError as error:
        raise CommandError(f"--owner-keypair {path}: {error.strerror}") from None
    except (ValueError, TypeError):
        raise CommandError(f"--owner-keypair {path}: not a key as `solana-keygen` writes it") from None
