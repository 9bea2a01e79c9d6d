"""`pause`, `resume` and `stop`: signals that tell an agent to wait, to go on or to end."""

from typing import Annotated

import typer

from autopay.cli.connect.connections import agent_handle
from autopay.cli.connect.event_loop import run_async
from autopay.cli.connect.ordering import ordered_anyway
from autopay.cli.terminal.console import note
from autopay.cli.terminal.exit_codes import examples_help
from autopay.cli.terminal.options import AgentArgument, HomeOption, agent_name
from autopay.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("pause", epilog=examples_help('pause trader --reason "waiting for the audit"'))(pause)
    app.command("resume", epilog=examples_help("resume trader"))(resume)
    app.command("stop", epilog=examples_help("stop trader", "stop trader --wait"))(stop)


def pause(
    name: AgentArgument,
    reason: Annotated[
        str | None, typer.Option(help="Shown in its status and in the Temporal UI (tab User Metadata).")
    ] = None,
    home: HomeOption = None,
) -> None:
    """Pause an agent: it buys nothing new.

    What is in flight finishes, and what waits is kept.
    """
    run_async(_signal(Settings.load(home=home), name, "pause", reason))
    note(f"agent {name} pauses", "green")


def resume(name: AgentArgument, home: HomeOption = None) -> None:
    """Let a paused agent go on."""
    run_async(_signal(Settings.load(home=home), name, "resume"))
    note(f"agent {name} goes on", "green")


def stop(
    name: AgentArgument,
    wait: Annotated[bool, typer.Option("--wait", help="Return when its payments are final or failed.")] = False,
    home: HomeOption = None,
) -> None:
    """Stop an agent, once its payments are final or failed.

    What waits stays in its queue; `launch` starts it again.
    """
    run_async(_signal(Settings.load(home=home), name, "stop", wait=wait))
    note(f"agent {name} {'has stopped' if wait else 'stops'}", "green")


async def _signal(settings: Settings, name: str, signal: str, *arguments: str | None, wait: bool = False) -> None:
    details = {"reason": arguments[0]} if arguments and arguments[0] else None
    async with ordered_anyway(settings, signal, agent=agent_name(name), details=details):
        agent = await agent_handle(settings, name)
        await agent.signal(signal, *arguments)
    if wait:
        await agent.wait_until_stopped()
