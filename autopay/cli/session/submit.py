"""`session submit`: what an owner signed with another wallet, checked, sent and confirmed on chain."""

from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from autopay.cli.connect.event_loop import run_async
from autopay.cli.session.signing_file import read_submission
from autopay.cli.terminal.exit_codes import examples_help
from autopay.cli.terminal.options import HomeOption, JsonOption
from autopay.settings import Settings


def register(session: typer.Typer) -> None:
    """Add the command to the group `session`."""
    shown = examples_help(
        "session submit grant.signed",
        "session submit 0191f0c4-6f1e-7c6b-8a51-0f3d2b1c9e77 --signature 5Kd…",
        "session submit 0191f0c4-6f1e-7c6b-8a51-0f3d2b1c9e77",
    )
    session.command("submit", epilog=shown)(submit)


def submit(
    target: Annotated[
        str,
        typer.Argument(metavar="FILE|SESSION_ID", help="The signed file, or the session that was signed."),
    ],
    signature: Annotated[str | None, typer.Option(help="The owner's signature, base58.")] = None,
    transaction: Annotated[str | None, typer.Option(help="The signed transaction, base64.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Submit a grant or revoke that the owner has signed.

    It must be the transaction that was exported last, signed by the owner; a wallet may have added assertions of the
    Lighthouse program and a compute budget, and nothing else. With a session id alone, the chain is checked for a grant
    that was sent already: by the wallet itself, or by a command that was interrupted.
    """
    from autopay.delegation.submission import Submission

    session_id = _uuid(target)
    given = Submission(session_id, transaction, signature)
    if signature is not None and transaction is not None:
        raise typer.BadParameter("give a --signature or a --transaction, not both")
    if session_id is None:
        if signature is not None or transaction is not None:
            raise typer.BadParameter("--signature and --transaction go with a session's id, not with a file")
        given = read_submission(Path(target))
    settings = Settings.load(home=home).resolve("database_url", "solana_rpc_url")
    from autopay.cli.session.submit_steps import submit_signed

    run_async(submit_signed(settings, given, as_json))


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
