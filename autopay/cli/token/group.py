"""The group `token`: who may call the API and log in to the page from elsewhere."""

import typer

from autopay.cli.terminal.command_group import command_group
from autopay.cli.token import tokens

HELP = "Make tokens for the API and the page, and revoke them."


def register(app: typer.Typer) -> None:
    """Add the group."""
    token = command_group(HELP)
    tokens.register(token)
    app.add_typer(token, name="token")
