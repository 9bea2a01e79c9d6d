"""What an agent is launched with, and what became of that."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from autopay.cli.terminal.exit_codes import CommandError
from autopay.domain.agent.spec import AgentSpec, Rules, Watch
from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.phase import Phase
from autopay.domain.text.command_line import command_line


class AlreadyRunning(CommandError):
    """An agent is launched twice."""

    def __init__(self, name: str) -> None:
        super().__init__(f"agent {name!r} is already running; see: {command_line('status', name)}")


@dataclass(frozen=True)
class LaunchOrder:
    """What an agent is launched with, and what its sessions may spend; the allowance is per currency.

    Without `grants` it is started with the sessions that it has.
    """

    name: str
    phase: Phase
    currencies: tuple[Currency, ...]
    allowance_atomic: int
    tx_limit: int
    duration_s: int
    watches: tuple[Watch, ...] = ()
    rules: Rules = field(default_factory=Rules)
    owner_keypair: Path | None = None
    grants: bool = True

    def spec(self, network: Network) -> AgentSpec:
        """What its workflow is started with."""
        return AgentSpec(
            name=self.name,
            phase=self.phase,
            network=network,
            currencies=self.currencies,
            watches=self.watches,
            rules=self.rules,
        )


@dataclass(frozen=True)
class LaunchOutcome:
    """What became of one agent of many; `error` is why, when it failed."""

    agent: str
    outcome: Literal["launched", "running", "failed"]
    error: str | None = None
