"""The group `session`: what an agent's keys may spend, granted and taken back by the owner of the money."""

import typer

from autopay.cli.session import grant as session_grant
from autopay.cli.session import list as session_list
from autopay.cli.session import revoke as session_revoke
from autopay.cli.session import submit as session_submit

session = typer.Typer(help="What an agent's keys may spend: granted and taken back by the owner.", no_args_is_help=True)


@session.callback()
def _session() -> None:
    """What an agent's keys may spend: granted and taken back by the owner."""


for module in (session_grant, session_list, session_revoke, session_submit):
    module.register(session)


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(session, name="session")
