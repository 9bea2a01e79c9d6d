"""The group `session`: what an agent's keys may spend, granted and taken back by the owner of the money."""

import typer

from autopay.cli import session_grant, session_list, session_revoke, session_submit

session = typer.Typer(help="What an agent's keys may spend: granted and taken back by the owner.", no_args_is_help=True)


@session.callback()
def _session() -> None:
    """What an agent's keys may spend: granted and taken back by the owner."""


for module in (session_grant, session_list, session_revoke, session_submit):
    module.register(session)


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(session, name="session")
