"""What Temporal knows of all agents at once: a word for each, without asking a worker; and each one's own word.

What must not live here: what is printed, and the ledger.
"""

import asyncio
from collections.abc import Collection

from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus
from temporalio.service import RPCError

from autopay.cli.connect.agent_handle import AgentHandle, AgentNotRunning
from autopay.cli.connect.console import printable
from autopay.cli.connect.exit_codes import CommandError, ExitCode
from autopay.domain.agent.status import AgentStatus
from autopay.domain.request import agent_workflow_id
from autopay.temporal.attributes import STATE

RUNNING = "WorkflowType = 'Agent' AND ExecutionStatus = 'Running'"
ENDED = "WorkflowType = 'Agent' AND ExecutionStatus != 'Running' AND ExecutionStatus != 'ContinuedAsNew'"
MOST_ENDED = 2_000
"""Runs that ended are listed newest first; further back an agent counts as stopped."""

AT_ONCE = 8


async def states_of(client: Client, names: Collection[str]) -> dict[str, str]:
    """The state that each agent has shown last, or how its workflow ended; `never launched` without one.

    One question to Temporal's visibility store, which may be a second behind, and one more if some do not run.

    Raises:
        CommandError: Temporal answers with an error.
    """
    wanted = {agent_workflow_id(name): name for name in names}
    found: dict[str, str] = {}
    try:
        async for run in client.list_workflows(RUNNING, page_size=1_000):
            if run.id in wanted:
                found[wanted[run.id]] = _shown(run)
        if len(found) < len(wanted):
            async for run in client.list_workflows(ENDED, page_size=1_000, limit=MOST_ENDED):
                if run.id in wanted:
                    found.setdefault(wanted[run.id], _ended(run))
    except RPCError as error:
        raise CommandError(f"Temporal answers with an error: {error.message}", ExitCode.UNREACHABLE) from None
    return {name: found.get(name, "never launched") for name in names}


async def statuses_of(client: Client, names: Collection[str], task_queue: str) -> dict[str, AgentStatus | None]:
    """What each agent says of itself, a few at a time; None for one that does not answer."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(name: str) -> AgentStatus | None:
        async with slots:
            try:
                return await AgentHandle(client, name, task_queue).status()
            except (AgentNotRunning, CommandError):
                return None

    return dict(zip(names, await asyncio.gather(*(one(name) for name in names)), strict=True))


def _shown(run: WorkflowExecution) -> str:
    state = run.typed_search_attributes.get(STATE)
    return printable(state) if state else "starting"


def _ended(run: WorkflowExecution) -> str:
    if run.status is None or run.status is WorkflowExecutionStatus.COMPLETED:
        return "stopped"
    return run.status.name.lower()
