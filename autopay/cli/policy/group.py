"""The group `policy`: what agents may pay, and for what they must ask a person."""

import sys

import typer

from autopay.cli.connect.exit_codes import examples_help
from autopay.cli.policy import payees as policy_payees
from autopay.cli.policy import set as policy_set
from autopay.cli.policy import show as policy_show
from autopay.domain.policy.file import EXAMPLE

HELP = "What agents may pay: limits, hosts, payees, and what a person must approve."

policy = typer.Typer(help=HELP, no_args_is_help=True)


@policy.callback()
def _policy() -> None:
    """What agents may pay: limits, hosts, payees, and what a person must approve."""


for module in (policy_set, policy_show, policy_payees):
    module.register(policy)


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(policy, name="policy")


@policy.command(epilog=examples_help("policy example > policy.toml", "policy set policy.toml --agent trader"))
def example() -> None:
    """Print a policy file with comments, to begin with."""
    sys.stdout.write(EXAMPLE)
