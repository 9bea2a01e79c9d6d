"""What keeps an agent from answering a command, and what to do about it in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autopay.cli.terminal.exit_codes import CommandError, ExitCode
from autopay.domain.text.command_line import command_line, worker_command_line

if TYPE_CHECKING:
    from temporalio.client import WorkflowExecutionStatus
    from temporalio.service import RPCError

    from autopay.domain.request import RequestError


class AgentNotRunning(CommandError):
    """No workflow of that agent runs."""

    def __init__(self, name: str) -> None:
        launch = command_line("launch", name)
        super().__init__(f"agent {name!r} is not running; launch it: {launch}")


class AgentEndedBadly(CommandError):
    """The agent's workflow has ended, and not by itself."""

    def __init__(self, name: str, status: WorkflowExecutionStatus | None) -> None:
        how = "has ended" if status is None else f"has ended: {status.name.lower().replace('_', ' ')}"
        super().__init__(f"agent {name!r} {how}; bring it back: {command_line('revive', name)}")


class AgentNotAnswering(CommandError):
    """The agent's workflow runs, and no worker answers for it."""


class AgentRefused(Exception):
    """The agent did not accept a request."""

    def __init__(self, error: RequestError) -> None:
        super().__init__(error.message)
        self.error = error


def start_worker() -> str:
    """What to do when no worker runs, in words."""
    return f"start one: {worker_command_line()}"


def temporal_error(error: RPCError) -> CommandError:
    """What to tell of an error that Temporal answers with."""
    return CommandError(f"Temporal answers with an error: {error.message}", ExitCode.UNREACHABLE)
