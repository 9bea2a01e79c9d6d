"""`revive`: brings an agent back whose workflow no longer answers, or was terminated, with all that the ledger has."""

from collections.abc import Callable
from typing import Annotated, Any

import typer
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from autopay.adapters.postgres import PostgresLedger
from autopay.cli.agent.launch_steps import start_agent
from autopay.cli.connect.agent_handle import AgentHandle, AgentNotAnswering, temporal_error
from autopay.cli.connect.connections import known_agent, ledger_and_temporal
from autopay.cli.connect.console import note
from autopay.cli.connect.event_loop import run_async
from autopay.cli.connect.exit_codes import CommandError, ExitCode, examples_help
from autopay.cli.connect.options import AgentArgument, HomeOption, agent_name
from autopay.domain.agent.spec import SavedAgent
from autopay.domain.command_line import command_line, worker_command_line
from autopay.domain.phase import Phase
from autopay.domain.request import agent_workflow_id
from autopay.settings import Settings

FAILED_TRIES = 2
"""So many failures of a workflow's task in a row, and a person may end it: the server tries again for ever."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("revive", epilog=examples_help("revive trader", "revive trader --yes"))(revive)


def revive(
    name: AgentArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before a run that does not answer is ended.")] = False,
    home: HomeOption = None,
) -> None:
    """Bring back an agent whose workflow no longer answers, or was terminated.

    It starts again from the ledger: with its watches, rules and phase, its queue, what is in flight and what waits for
    a person; one that a person had paused stays paused. A run that no longer answers is terminated first. Nothing is
    paid twice: its payments are workflows of their own, which go on meanwhile, and the ledger knows each of them.
    """
    settings = Settings.load(home=home).resolve()
    saved = run_async(_revive(settings, agent_name(name), ask=not yes))
    paused = f", and stays paused: {saved.pause}" if saved.pause is not None else ""
    note(
        f"agent {name} is back in phase {saved.spec.phase.value}, with {len(saved.spec.watches)} watches and its "
        f"queue{paused}",
        "green",
    )


async def _revive(settings: Settings, name: str, *, ask: bool) -> SavedAgent:
    async with ledger_and_temporal(settings) as (ledger, client):
        return await revive_agent(ledger, client, settings.task_queue, name, _confirm if ask else None)


def _confirm(why: str) -> None:
    typer.confirm(f"{why} Terminate it, and start the agent again from the ledger?", abort=True, err=True)


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
    failures = await _failures_of(handle)
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


async def _failures_of(handle: WorkflowHandle[Any, Any]) -> int:
    """How often its present workflow task has failed."""
    try:
        described = await handle.describe()
    except RPCError as error:
        raise temporal_error(error) from None
    return described.raw_description.pending_workflow_task.attempt - 1
