"""`revive`: brings an agent back whose workflow no longer answers, or was terminated, with all that the ledger has."""

from typing import Annotated

import typer

from autopay.cli.connect.connections import ledger_and_temporal
from autopay.cli.connect.event_loop import run_async
from autopay.cli.terminal.console import note
from autopay.cli.terminal.exit_codes import examples_help
from autopay.cli.terminal.options import AgentArgument, HomeOption, agent_name
from autopay.domain.agent.spec import SavedAgent
from autopay.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("revive", epilog=examples_help("revive trader", "revive trader --yes"))(revive)


def revive(
    name: AgentArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before a run that does not answer is ended.")] = False,
    home: HomeOption = None,
) -> None:
    """Bring back an agent that was terminated or does not answer.

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
    from autopay.cli.launch.revive_steps import revive_agent

    async with ledger_and_temporal(settings) as (ledger, client):
        return await revive_agent(ledger, client, settings.task_queue, name, _confirm if ask else None)


def _confirm(why: str) -> None:
    typer.confirm(f"{why} Terminate it, and start the agent again from the ledger?", abort=True, err=True)
