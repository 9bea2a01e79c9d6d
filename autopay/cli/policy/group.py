"""The group `policy`: what agents may pay, and what a person must approve; and `policy example`."""

import sys

import typer

from autopay.cli.policy import payees, show
from autopay.cli.policy import set as set_policy
from autopay.cli.terminal.command_group import command_group
from autopay.cli.terminal.exit_codes import examples_help
from autopay.domain.policy.file import EXAMPLE

HELP = "Limit what agents may pay, and whom."


def register(app: typer.Typer) -> None:
    """Add the group."""
    policy = command_group(HELP)
    for module in (set_policy, show, payees):
        module.register(policy)
    shown = examples_help("policy example > policy.toml", "policy set policy.toml --agent trader")
    policy.command("example", epilog=shown)(example)
    app.add_typer(policy, name="policy")


def example() -> None:
    """Print a policy file with comments, to start from."""
    sys.stdout.write(EXAMPLE)
