"""Ends an agent's run that no longer answers, and starts the agent from the ledger."""

from collections.abc import Callable

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from autopay.adapters.postgres import PostgresLedger
from autopay.cli.connect.connections import known_agent
from autopay.cli.launch.launch_steps import start_agent
from autopay.cli.terminal.exit_codes import CommandError, ExitCode
from autopay.client.agents.handle import FAILED_TRIES, AgentHandle
from autopay.client.errors import AgentNotAnswering, temporal_error
from autopay.domain.agent.spec import SavedAgent
from autopay.domain.phase import Phase
from autopay.domain.request import agent_workflow_id
from autopay.domain.text.command_line import command_line, worker_command_line


async def revive_agent(
    ledger: PostgresLedger, client: Client, task_queue: str, name: str, confirm: Callable[[str], None] | None = None
) -> SavedAgent:
    """Start the agent from the ledger, after the end of a run that no longer answers; `confirm` raises if it may not.

    Raises:
        CommandError: it runs and answers, no worker runs, or the ledger does not know what it is to do.
    """
    async with ledger.sessions.lock_agent(name):
        saved = await _saved(ledger, name)
        await _end_what_does_not_answer(client, AgentHandle(client, name, task_queue), confirm)
        await start_agent(client, task_queue, saved.spec, saved.pause)
    return saved


async def _saved(ledger: PostgresLedger, name: str) -> SavedAgent:
    """What the ledger keeps of the agent; its phase is the one that payments look at."""
    record = await known_agent(ledger, name)
    saved = await ledger.agents.saved(name)
    if saved is None:
        raise CommandError(
            f"the ledger does not know the watches of {name!r}, as it never ran with this version; start it again with "
            f"{command_line('launch', name, '--no-grant')} and its watches: its queue is kept"
        )
    return saved.model_copy(update={"spec": saved.spec.model_copy(update={"phase": Phase(record.phase)})})


async def _end_what_does_not_answer(client: Client, agent: AgentHandle, confirm: Callable[[str], None] | None) -> None:
    """Terminate a run whose task fails again and again; one that answers, or has no worker, is left alone."""
    handle = client.get_workflow_handle(agent_workflow_id(agent.name))
    if not await agent.is_running():
        return
    try:
        await agent.status()
    except AgentNotAnswering:
        pass
    else:
        raise CommandError(f"agent {agent.name!r} runs and answers: see {command_line('status', agent.name)}")
    failures = await agent.failed_tasks()
    if failures < FAILED_TRIES:
        raise CommandError(
            f"agent {agent.name!r} does not answer, but its task does not fail: its workers are busy or ended; start "
            f"one: {worker_command_line()}",
            ExitCode.UNREACHABLE,
        )
    if confirm is not None:
        confirm(f"The workflow of {agent.name} no longer answers: its task failed {failures} times.")
    try:
        await handle.terminate(reason="revived: it no longer answered")
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:  # it ended by itself
            raise temporal_error(error) from None
