"""The group `ledger`: what was paid, for what, and the proof of it."""

import typer

from autopay.cli.ledger import anchor, disputes, export, follow, prune, reconcile, resolve, show, spend, verify
from autopay.cli.terminal.command_group import command_group

HELP = "See what was paid, and check it against the chain."


def register(app: typer.Typer) -> None:
    """Add the group."""
    ledger = command_group(HELP)
    for module in (show, export, spend, follow, prune, reconcile, resolve, disputes, verify, anchor):
        module.register(ledger)
    app.add_typer(ledger, name="ledger")
