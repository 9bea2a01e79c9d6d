"""The agent that pays when the caller of `request` names none: made with test money, on the embedded stack only."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from autopay.cli.terminal.exit_codes import CommandError
from autopay.domain.money import Currency, to_atomic
from autopay.domain.phase import Phase

if TYPE_CHECKING:
    from autopay.client.agents.handle import AgentHandle
    from autopay.client.requests.connections import Connections

_ALLOWANCE = to_atomic("10")
_PAYMENTS = 10_000
_DURATION_S = 30 * 86_400


async def launch_default_agent(connections: Connections, agent: AgentHandle) -> None:
    """Launch it when it does not run.

    Raises:
        CommandError: this is not the embedded stack.
    """
    settings = connections.settings
    if not settings.on_localnet:
        raise CommandError("name the agent that pays with --agent: a default agent is made on the embedded stack only")
    if not await agent.is_running():
        from autopay.cli.launch.launch_order import AlreadyRunning, LaunchOrder
        from autopay.cli.launch.launch_steps import launch_agent

        order = LaunchOrder(
            name=agent.name,
            phase=Phase.FULL,
            currencies=tuple(Currency),
            allowance_atomic=_ALLOWANCE,
            tx_limit=_PAYMENTS,
            duration_s=_DURATION_S,
        )
        with contextlib.suppress(AlreadyRunning):  # another command was faster
            await launch_agent(settings, connections.ledger, await connections.temporal(), connections.vault, order)
