"""`token make`, `token list` and `token revoke`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autopay.cli.connect.connections import ledger_of
from autopay.cli.connect.event_loop import run_async
from autopay.cli.connect.ordering import operator_name
from autopay.cli.terminal.console import note, print_json, print_line
from autopay.cli.terminal.exit_codes import CommandError, examples_help
from autopay.cli.terminal.options import HomeOption, JsonOption, WrongValue, completed_by, shown, whole_seconds
from autopay.cli.terminal.tables import print_table
from autopay.domain.access.records import check_token_name
from autopay.domain.text.command_line import command_line
from autopay.settings import Settings

if TYPE_CHECKING:
    from autopay.adapters.postgres import PostgresLedger
    from autopay.domain.access.records import TokenRecord

SCOPES = ("read", "act")
NEVER = "never"
DEFAULT_EXPIRY = "90d"
MOST_DAYS = 3_660

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="What the token is called, and who acts by it.")]


def register(token: typer.Typer) -> None:
    """Add the commands to the group `token`."""
    made = examples_help("token make grafana", "token make alice --scope read --scope act --expires 30d")
    token.command("make", epilog=made)(make)
    token.command("list", epilog=examples_help("token list", "token list --json"))(list_tokens)
    token.command("revoke", epilog=examples_help("token revoke grafana"))(revoke)


def make(
    name: NameArgument,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            help="read: see everything; act: also pause, buy, approve, deny and revoke. Repeatable.",
            autocompletion=completed_by(*SCOPES),
            show_default="read",
        ),
    ] = None,
    expires: Annotated[str, typer.Option(help="How long it lasts: 12h, 30d, or never.")] = DEFAULT_EXPIRY,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a token, and print it: nobody can read it again.

    Programs show it to the API as `Authorization: Bearer TOKEN`, people at the page's login. It is needed as soon as
    `serve` listens elsewhere than on loopback. The ledger keeps a hash of it, and records what is done by it under its
    name: give every person and program one of their own.
    """
    scopes = _scopes(scope or ["read"])
    lasts_s = _lasts_s(expires)
    settings = Settings.load(home=home).resolve("database_url")
    record, text = run_async(_make(settings, _name(name), scopes, lasts_s))
    if as_json:
        print_json({**_json(record), "token": text})
        return
    print_line(text)
    until = "never expires" if record.expires_at is None else f"expires at {record.expires_at:%F %T} UTC"
    note(f"token {record.name} ({', '.join(record.scopes)}) {until}; it is shown only now", "green")


async def _make(settings: Settings, name: str, scopes: Sequence[str], lasts_s: int | None) -> tuple[TokenRecord, str]:
    from autopay.adapters.postgres.access.tokens import TokenExists

    async with ledger_of(settings) as ledger:
        action_id = await _begin(ledger, "token make", name, {"scopes": list(scopes), "lasts_s": lasts_s})
        try:
            made = await ledger.tokens.make(name, scopes, lasts_s)
        except TokenExists:
            await ledger.operator_actions.end(action_id, "refused", "there is one of that name")
            message = f"there is a token {name!r} already; revoke it: {command_line('token', 'revoke', name)}"
            raise CommandError(message) from None
        await ledger.operator_actions.end(action_id, "done")
        return made


def list_tokens(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List tokens with what they may do, and when they were last used.

    The time of the last use is right to the hour.
    """
    found = run_async(_list(Settings.load(home=home).resolve("database_url")))
    if as_json:
        print_json([_json(record) for record in found])
    elif not found:
        note(f"there is no token yet; make one: {command_line('token', 'make', 'NAME')}")
    else:
        now = datetime.now(UTC)
        print_table(
            ("name", "state", "may", "made (UTC)", "expires (UTC)", "last used"),
            (
                (
                    record.name,
                    record.state_at(now),
                    ", ".join(record.scopes),
                    f"{record.created_at:%F %T}",
                    "never" if record.expires_at is None else f"{record.expires_at:%F %T}",
                    "never" if record.last_used_at is None else f"{record.last_used_at:%F %H}h",
                )
                for record in found
            ),
        )


async def _list(settings: Settings) -> Sequence[TokenRecord]:
    async with ledger_of(settings) as ledger:
        return await ledger.tokens.list()


def revoke(name: NameArgument, home: HomeOption = None) -> None:
    """Revoke a token: nothing is done by it any more.

    Pages that somebody has logged in to by it end as well, at once.
    """
    settings = Settings.load(home=home).resolve("database_url")
    if not run_async(_revoke(settings, name)):
        raise CommandError(f"there is no token {name!r} that works; see: {command_line('token', 'list')}")
    note(f"token {name} is revoked, and logins by it have ended", "green")


async def _revoke(settings: Settings, name: str) -> bool:
    async with ledger_of(settings) as ledger:
        action_id = await _begin(ledger, "token revoke", name, None)
        found = await ledger.tokens.revoke(name)
        await ledger.operator_actions.end(
            action_id, *(("done",) if found else ("refused", "there is none of that name"))
        )
        return found is not None


async def _begin(ledger: PostgresLedger, action: str, name: str, details: dict[str, Any] | None) -> Any:
    return await ledger.operator_actions.begin(
        action, actor=operator_name(), via="command", target=name, details=details
    )


def _name(text: str) -> str:
    try:
        return check_token_name(text)
    except ValueError as error:
        raise WrongValue(text, str(error)) from None


def _scopes(texts: Sequence[str]) -> Sequence[str]:
    for text in texts:
        if text.lower() not in SCOPES:
            raise WrongValue(text, f"{shown(text)} is not a scope: read or act")
    named = {text.lower() for text in texts}
    # Whoever acts has to see on what.
    return sorted(named | {"read"})


def _lasts_s(text: str) -> int | None:
    if text.lower() == NEVER:
        return None
    seconds = whole_seconds(text)
    if seconds > MOST_DAYS * 86_400:
        raise WrongValue(text, f"{shown(text)} is longer than a token lasts: at most {MOST_DAYS}d, or never")
    return seconds


def _json(record: TokenRecord) -> dict[str, Any]:
    return record.model_dump(mode="json") | {"state": record.state_at(datetime.now(UTC))}
