"""`session export`: a fresh transaction for a session that waits for its owner's signature."""

from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from autopay.cli.connect.connections import ledger_of
from autopay.cli.connect.event_loop import run_async
from autopay.cli.session.signing_file import check_export, export_for_signing
from autopay.cli.terminal.console import print_json
from autopay.cli.terminal.exit_codes import examples_help
from autopay.cli.terminal.options import HomeOption, JsonOption, session_uuid
from autopay.delegation.connections import OwnerConnections, owner_node
from autopay.settings import Settings


def register(session: typer.Typer) -> None:
    """Add the command to the group `session`."""
    again = examples_help("session export 0191f0c4-6f1e-7c6b-8a51-0f3d2b1c9e77 grant.json")
    session.command("export", epilog=again)(export)


def export(
    session_id: Annotated[str, typer.Argument(metavar="SESSION_ID", help="The session; see `session list`.")],
    file: Annotated[Path, typer.Argument(help="Where to write the unsigned transaction.", dir_okay=False)],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Export a fresh transaction for the owner to sign.

    For a session that waits for its grant. A transaction can be sent for about a minute only, as its blockhash expires;
    the new one replaces the last.
    """
    found = session_uuid(session_id)
    check_export(file)
    run_async(_export(Settings.load(home=home).resolve("database_url", "solana_rpc_url"), found, file, as_json))


async def _export(settings: Settings, session_id: UUID, file: Path, as_json: bool) -> None:
    from autopay.delegation.drafts import fresh_grant_draft, known_session

    async with ledger_of(settings) as ledger, owner_node(settings) as node:
        on = OwnerConnections(ledger, node, settings.slot_ms)
        draft = await fresh_grant_draft(on, await known_session(ledger, session_id))
        line = export_for_signing(draft, file, settings.network, quiet=as_json)
        if as_json:
            print_json(line)
