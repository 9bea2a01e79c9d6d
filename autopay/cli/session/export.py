"""`session export`: a fresh transaction for a session that waits for its owner's signature."""

from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from autopay.cli.connect.connections import known_session, ledger_of
from autopay.cli.connect.event_loop import run_async
from autopay.cli.session.output import describe_grant
from autopay.cli.session.owner import owner_node
from autopay.cli.session.signing_file import check_export, export_for_signing
from autopay.cli.terminal.console import print_json
from autopay.cli.terminal.exit_codes import CommandError, examples_help
from autopay.cli.terminal.options import HomeOption, JsonOption, session_uuid
from autopay.domain.text.command_line import command_line
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
    from autopay.adapters.solana.owner.grant import draft_again, is_shown

    async with ledger_of(settings) as ledger, owner_node(settings) as node:
        record = await known_session(ledger, session_id)
        if record.granted or record.status != "ACTIVE":
            hint = f"to take its money back: {command_line('session', 'revoke', session_id, '--export', file)}"
            raise CommandError(f"session {session_id} does not wait for a grant; {hint}")
        if await is_shown(node, record):
            raise CommandError(f"the grant is on chain already: {command_line('session', 'submit', session_id)}")
        asked = await draft_again(node, ledger.sessions, record)
        line = await export_for_signing(settings, node, record, asked, describe_grant(record), file, quiet=as_json)
        if as_json:
            print_json(line)
