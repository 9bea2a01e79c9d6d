"""The group `session`: keys that may spend an owner's money, granted and taken back by the owner."""

import typer

from autopay.cli.session import export, grant, revoke, submit
from autopay.cli.session import list as list_sessions
from autopay.cli.terminal.command_group import command_group

HELP = "Grant agents keys that spend, and revoke them."


def register(app: typer.Typer) -> None:
    """Add the group."""
    session = command_group(HELP)
    for module in (grant, list_sessions, revoke, export, submit):
        module.register(session)
    app.add_typer(session, name="session")
