"""`policy set`: replaces the policy of an agent, or of all agents without their own."""

from typing import Annotated

import typer

from autopay.cli.connect.connections import known_agent, ledger_of
from autopay.cli.connect.event_loop import run_async
from autopay.cli.connect.ordering import ordered_by_command
from autopay.cli.policy.show import changes
from autopay.cli.terminal.console import note
from autopay.cli.terminal.exit_codes import CommandError, examples_help
from autopay.cli.terminal.files import name_of, read_toml_text
from autopay.cli.terminal.options import HomeOption, agent_name
from autopay.cli.terminal.tables import print_table
from autopay.domain.policy.file import read_policy
from autopay.domain.policy.policy import Policy
from autopay.domain.text.command_line import CALL
from autopay.domain.text.toml_file import TomlFileError
from autopay.settings import Settings


def register(policy: typer.Typer) -> None:
    """Add the command to the group `policy`."""
    shown = examples_help(
        "policy set policy.toml",
        "policy set trader.toml --agent trader",
        f"policy example | {CALL.get().program} policy set - --agent trader",
    )
    policy.command("set", epilog=shown)(set_policy)


def set_policy(
    file: Annotated[str, typer.Argument(metavar="FILE", help="TOML, see `policy example`; `-` reads stdin.")],
    agent: Annotated[
        str | None, typer.Option(help="Only for this agent.", show_default="all without their own policy")
    ] = None,
    home: HomeOption = None,
) -> None:
    """Set what may be paid, and show what changed.

    It holds from the next payment on that is signed. The file is the whole policy: a limit that it leaves out is
    removed. An agent's own policy replaces everyone's.
    """
    name = None if agent is None else agent_name(agent)
    wanted = _read(file)
    before = run_async(_set(Settings.load(home=home).resolve("database_url"), wanted, name))
    differ = changes(before, wanted)
    if differ:
        print_table(("", "before", "from now on"), differ)
    whose = f"agent {name}" if name is not None else "all agents without a policy of their own"
    note(f"policy of {whose} is set{'' if differ else '; nothing changed'}", "green")


def _read(file: str) -> Policy:
    """The policy in a file; whatever is wrong with it is one line that names the file."""
    try:
        return read_policy(read_toml_text(file))
    except TomlFileError as error:
        raise CommandError(f"{name_of(file)}, {error}") from None


async def _set(settings: Settings, wanted: Policy, agent: str | None) -> Policy:
    """Set the policy; returns the one before."""
    async with ledger_of(settings) as ledger:
        if agent is None:
            before, _ = await ledger.policies.default()
        else:
            await known_agent(ledger, agent)
            before = (await ledger.policies.in_force(agent)).policy
        async with ordered_by_command(ledger, "policy set", agent=agent, details=wanted.model_dump(mode="json")):
            await ledger.policies.set(wanted, agent)
    return before
