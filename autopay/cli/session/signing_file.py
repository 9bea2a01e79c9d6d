"""The file with which another wallet signs: written for the owner, read back with the signature."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from autopay.bounded_file import read_bounded
from autopay.cli.session.output import session_json
from autopay.cli.terminal.console import note, print_line
from autopay.cli.terminal.exit_codes import CommandError
from autopay.domain.network import Network
from autopay.domain.text.command_line import command_line

if TYPE_CHECKING:
    from autopay.delegation.drafts import Draft
    from autopay.delegation.submission import Submission


MOST_BYTES = 1_000_000


def check_export(path: Path) -> None:
    """Refuse a path that cannot be written, before anything happens."""
    try:
        fits = not path.is_dir() and path.expanduser().resolve().parent.is_dir()
    except (OSError, RuntimeError, ValueError):
        fits = False
    if not fits:
        raise CommandError(f"--export {str(path)[:200]}: must be a file in a directory that exists")


def write_export(path: Path, draft: Draft, network: Network) -> None:
    """Write the file for the owner to sign; it holds no secret."""
    from autopay.adapters.solana.owner.owner_transaction import unsigned
    from autopay.delegation.drafts import default_file

    record, asked = draft.record, draft.asked
    content = {
        "session": str(record.session_id),
        "agent": record.agent,
        "network": network.value,
        "signer": record.owner,
        "does": list(draft.words),
        "transaction": unsigned(asked),
        "message": asked.message,
        "lastValidBlockHeight": asked.last_valid_block_height,
        "validUntilAbout": f"{draft.valid_until:%Y-%m-%dT%H:%M:%SZ}",
        "next": "sign `transaction` (base64) in the owner's wallet; then: " + command_line("session", "submit", path),
    }
    try:
        path.expanduser().write_text(json.dumps(content, indent=2) + "\n")
    except OSError as error:
        raise CommandError(
            f"--export {path}: {error.strerror}; the session waits; write another file: "
            f"{command_line('session', 'export', record.session_id, default_file(record))}"
        ) from None


def read_submission(path: Path) -> Submission:
    """A signed transaction in base64, or the exported JSON with the signed `transaction` or a `signature` in it."""
    from autopay.delegation.submission import Submission

    try:
        text = read_bounded(path, MOST_BYTES).decode().strip()
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}; give a file, or a session's id") from None
    except UnicodeDecodeError:
        raise CommandError(f"{path}: not a text file; it must hold the signed transaction in base64") from None
    if not text.startswith("{"):
        return Submission(None, text, None)
    try:
        content = json.loads(text)
        session = UUID(content["session"]) if "session" in content else None
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise CommandError(f"{path}: not the JSON that was exported, with the signed transaction in it") from None
    given = {name: content.get(name) for name in ("transaction", "signature")}
    if not all(each is None or isinstance(each, str) for each in given.values()):
        raise CommandError(f"{path}: its transaction and signature must be texts")
    return Submission(session, None if given["signature"] else given["transaction"], given["signature"])


def export_for_signing(draft: Draft, file: Path, network: Network, *, quiet: bool = False) -> dict[str, Any]:
    """Write the file, and print what to do with it; returns the line for `--json`."""
    record, until = draft.record, draft.valid_until
    write_export(file, draft, network)
    if not quiet:
        print_line(f"session {record.session_id}: {record.owner} must sign {file} before about {until:%T} UTC")
        note(f"then: {command_line('session', 'submit', file)}")
        if draft.asked.does == "grant":
            note(f"if that is too late: {command_line('session', 'export', record.session_id, file)}")
    waiting = {"state": "waiting", "export": str(file), "valid_until_about": until.isoformat(timespec="seconds")}
    return session_json(record) | waiting
