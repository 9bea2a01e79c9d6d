"""The group `webhook`: where the ledger's events are sent to."""

import typer

from autopay.cli.terminal.command_group import command_group
from autopay.cli.webhook import change, look

HELP = "Send events to other programs, signed and retried for a day."


def register(app: typer.Typer) -> None:
    """Add the group."""
    webhook = command_group(HELP)
    for module in (change, look):
        module.register(webhook)
    app.add_typer(webhook, name="webhook")
