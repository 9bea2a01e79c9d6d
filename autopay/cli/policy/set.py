"""`policy set`: from now on these limits hold."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from autopay.cli.connect.connections import known_agent, ledger_of
from autopay.cli.connect.console import note, print_table
from autopay.cli.connect.exit_codes import CommandError, examples_help
from autopay.cli.connect.invocation import HomeOption, run_async
from autopay.cli.connect.options import agent_name
from autopay.cli.policy.text import changes
from autopay.domain.policy.file import PolicyError, read_policy
from autopay.domain.policy.policy import Policy
from autopay.settings import Settings

STDIN = "-"


def register(policy: typer.Typer) -> None:
    """Add the command to the group `policy`."""
    shown = examples_help(
        "policy set policy.toml",
        "policy set trader.toml --agent trader",
        "policy example | starter.py policy set - --agent trader",
    )
    policy.command("set", epilog=shown)(set_policy)


def set_policy(
    file: Annotated[str, typer.Argument(metavar="FILE", help="TOML, see `policy example`; - reads stdin.")],
    agent: Annotated[
        str | None, typer.Option(help="For this agent only.", show_default="all without their own")
    ] = None,
    home: HomeOption = None,
) -> None:
    """Set what may be paid, from the next payment on that is signed, and show what changed.

    The file is the whole policy: what it leaves out has no limit, whatever held before. An agent's own policy
    replaces everyone's.
    """
    name = None if agent is None else agent_name(agent)
    wanted = _read(file)
    before = run_async(_set(Settings.load(home=home).resolve("database_url"), wanted, name))
    differ = changes(before, wanted)
    if differ:
        print_table(("", "before", "from now on"), differ)
    whose = f"agent {name}" if name is not None else "all agents without a policy of their own"
    note(f"policy of {whose} is set{'' if differ else '; it says what held before'}", "green")


def _read(file: str) -> Policy:
    """The policy in a file; whatever is wrong with it is one line that names the file."""
    where = "stdin" if file == STDIN else file
    try:
        raw = sys.stdin.buffer.read() if file == STDIN else Path(file).expanduser().read_bytes()
        return read_policy(raw.decode())
    except OSError as error:
        raise CommandError(f"{where}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise CommandError(f"{where}, line {line}: not TOML: not UTF-8") from None
    except PolicyError as error:
        raise CommandError(f"{where}, {error}") from None


async def _set(settings: Settings, wanted: Policy, agent: str | None) -> Policy:
    """Set it; returns what held before."""
    async with ledger_of(settings) as ledger:
        if agent is None:
            before, _ = await ledger.policies.default()
        else:
            await known_agent(ledger, agent)
            before = (await ledger.policies.in_force(agent)).policy
        await ledger.policies.set(wanted, agent)
    return before
