"""`session revoke`: destroys a session's key at once, and gives the money back to its owner."""

from pathlib import Path
from typing import Annotated

import typer

from autopay.cli.connect.event_loop import run_async
from autopay.cli.session.signing_file import check_export
from autopay.cli.terminal.exit_codes import ExitCode, examples_help
from autopay.cli.terminal.files import read_keypair
from autopay.cli.terminal.options import HomeOption, JsonOption, OwnerKeypairOption, agent_name, session_uuid
from autopay.settings import Settings


def register(session: typer.Typer) -> None:
    """Add the command to the group `session`."""
    shown = examples_help(
        "session revoke 0191f0c4-6f1e-7c6b-8a51-0f3d2b1c9e77",
        "session revoke --agent trader --owner-keypair ~/.config/solana/id.json",
        "session revoke 0191f0c4-6f1e-7c6b-8a51-0f3d2b1c9e77 --export revoke.json",
    )
    session.command("revoke", epilog=shown)(revoke)


def revoke(
    session_id: Annotated[
        str | None, typer.Argument(metavar="SESSION_ID", help="The session; see `session list`.", show_default=False)
    ] = None,
    agent: Annotated[str | None, typer.Option(help="All sessions of this agent instead.")] = None,
    owner_keypair: OwnerKeypairOption = None,
    export_to: Annotated[
        Path | None, typer.Option("--export", help="Write the unsigned transaction here, for another wallet to sign.")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait until the session's payments are final or failed.")
    ] = True,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """End a session and take its money back.

    Its key is destroyed at once: nothing new is paid. When its payments are final or failed, the owner's transaction
    ends the delegation, moves the rest back and closes the account; on the embedded chain a test wallet signs by
    itself. You can also revoke ended sessions, and run this as often as you like.
    """
    if (session_id is None) == (agent is None):
        raise typer.BadParameter("give a session's id, or --agent for all of an agent's")
    if owner_keypair is not None and export_to is not None:
        raise typer.BadParameter("give --owner-keypair or --export, not both")
    chosen, name = session_uuid(session_id) if session_id else None, agent_name(agent) if agent else None
    if export_to is not None:
        check_export(export_to)
    if owner_keypair is not None:
        read_keypair(owner_keypair)
    settings = Settings.load(home=home).resolve("database_url", "solana_rpc_url")

    from autopay.cli.session.revoke_steps import RevokeOrder, revoke_sessions

    order = RevokeOrder(
        chosen,
        name,
        owner_keypair,
        export_to,
        wait,
    )
    finished = run_async(revoke_sessions(settings, order, as_json))
    raise typer.Exit(ExitCode.OK if finished else ExitCode.UNFINISHED)
