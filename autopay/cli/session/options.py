"""What the options of `session` mean: ids, addresses, host rules."""

import re
from uuid import UUID

import typer
from solders.pubkey import Pubkey

from autopay.adapters.postgres import PostgresLedger
from autopay.cli.connect.exit_codes import CommandError
from autopay.domain.hosts import HOST_PATTERN
from autopay.domain.session import SessionRecord


def session_uuid(text: str) -> UUID:
    """A session's id, as `session list` shows it."""
    try:
        return UUID(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a session's id: see `starter.py session list`") from None


def public_key(text: str) -> Pubkey:
    """A wallet's address, one that can sign."""
    try:
        key = Pubkey.from_string(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a Solana address") from None
    if not key.is_on_curve():
        raise typer.BadParameter(f"{text} is no wallet: nobody can sign for it")
    return key


def host_rules(texts: list[str]) -> tuple[str, ...]:
    """Host rules in lower case, each once."""
    rules = tuple(dict.fromkeys(text.strip().lower() for text in texts))
    for rule in rules:
        if not re.fullmatch(HOST_PATTERN, rule):
            raise typer.BadParameter(f"{rule!r} is not a host like api.example.com, *.example.com or 127.0.0.1:8403")
    return rules


async def known_session(ledger: PostgresLedger, session_id: UUID) -> SessionRecord:
    """The session, or an error that says what to do."""
    record = await ledger.sessions.get(session_id)
    if record is None:
        raise CommandError(f"there is no session {session_id}: see `starter.py session list`")
    return record
