"""Launches many agents at once: each for itself, so that one that fails does not stop the others.

What must not live here: how one is launched (launching.py), the file (launch_file.py), and what is printed.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from temporalio.client import Client
from temporalio.service import RPCError

from autopay.adapters.postgres import PostgresLedger
from autopay.adapters.vault import Vault
from autopay.cli.agent.launch_steps import AlreadyRunning, LaunchOrder, launch_agent
from autopay.cli.connect.connections import mint_of
from autopay.cli.connect.exit_codes import CommandError
from autopay.domain.errors import Fault
from autopay.domain.network import Network
from autopay.domain.phase import Phase
from autopay.settings import Settings, SettingsError

AT_ONCE = 8
"""Each waits for its owner's transaction to be confirmed; more at once only wait for each other."""


@dataclass(frozen=True)
class LaunchOutcome:
    """What became of one agent; `error` is why, when it failed."""

    agent: str
    outcome: Literal["launched", "running", "failed"]
    error: str | None = None


def check_orders(settings: Settings, orders: Sequence[LaunchOrder]) -> None:
    """See that nothing in the settings stands against any of them, before the first is granted money.

    Raises:
        CommandError, SettingsError: something does; the message names the agent.
    """
    for order in orders:
        if order.phase is Phase.DEMO and settings.network is Network.MAINNET:
            raise CommandError(f"agent {order.name}: phase demo never runs on mainnet")
        if order.grants and order.owner_keypair is None and not settings.on_localnet:
            raise CommandError("--owner-keypair FILE is needed on this network: the owner signs what agents may spend")
        for currency in order.currencies:
            try:
                mint_of(settings, currency)
            except SettingsError as error:
                raise SettingsError(f"agent {order.name}: {error}") from None


async def launch_all(
    settings: Settings,
    ledger: PostgresLedger,
    client: Client,
    vault: Vault,
    orders: Sequence[LaunchOrder],
    on_outcome: Callable[[LaunchOutcome], None],
) -> list[LaunchOutcome]:
    """Launch each, a few at a time; `on_outcome` hears of each as it ends. One that runs already is left alone."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(order: LaunchOrder) -> LaunchOutcome:
        async with slots:
            outcome = await _launch(settings, ledger, client, vault, order)
        on_outcome(outcome)
        return outcome

    return list(await asyncio.gather(*(one(order) for order in orders)))


async def _launch(
    settings: Settings, ledger: PostgresLedger, client: Client, vault: Vault, order: LaunchOrder
) -> LaunchOutcome:
    try:
        await launch_agent(settings, ledger, client, vault, order)
    except AlreadyRunning:
        return LaunchOutcome(order.name, "running")
    except (CommandError, Fault) as error:
        return LaunchOutcome(order.name, "failed", str(error))
    except RPCError as error:
        return LaunchOutcome(order.name, "failed", f"Temporal answers with an error: {error.message}")
    return LaunchOutcome(order.name, "launched")
