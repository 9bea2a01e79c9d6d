"""`ledger follow`: the ledger as it grows, like `tail -f`."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated

import typer

from autopay.cli.connect.connections import ledger_of
from autopay.cli.connect.event_loop import run_async
from autopay.cli.ledger.filters import AgentOption, LinesOption
from autopay.cli.ledger.output import quiet_broken_pipe
from autopay.cli.terminal.console import note, print_json, print_line
from autopay.cli.terminal.exit_codes import examples_help
from autopay.cli.terminal.options import HomeOption, WrongValue, agent_name, shown
from autopay.client.requests.event_text import event_line
from autopay.domain.errors import LedgerUnavailable
from autopay.settings import Settings

if TYPE_CHECKING:
    from autopay.adapters.postgres.reports.events import LedgerEvent


def register(ledger: typer.Typer) -> None:
    """Add the command to the group `ledger`."""
    shown = examples_help(
        "ledger follow", "ledger follow --agent trader --tail 20", "ledger follow --since 734:1021 --json"
    )
    ledger.command("follow", epilog=shown)(follow)


def follow(
    agent: AgentOption = None,
    since: Annotated[
        str | None, typer.Option(help="Start after this event; `start` prints everything.", metavar="CURSOR")
    ] = None,
    tail: Annotated[int, typer.Option(min=0, max=1_000, help="How many of the last events to print first.")] = 10,
    home: HomeOption = None,
    as_json: LinesOption = False,
) -> None:
    """Print changes of the ledger as they happen, until Ctrl-C.

    Each committed change is printed once, also when the database restarts. With --json each line has its cursor.
    """
    name = None if agent is None else agent_name(agent)
    cursor = None if since is None else _cursor(since)
    settings = Settings.load(home=home).resolve("database_url")
    with quiet_broken_pipe():
        run_async(_follow(settings, name, cursor, tail, as_json))


async def _follow(settings: Settings, agent: str | None, cursor: str | None, tail: int, as_json: bool) -> None:
    async with ledger_of(settings, agent) as ledger:
        await ledger.maintenance.check_schema()
        async with aclosing(
            ledger.events.follow(after=cursor, tail=tail, agent=agent, on_outage=_note_outage)
        ) as events:
            async for event in events:
                _print(event, as_json)


def _print(event: LedgerEvent, as_json: bool) -> None:
    if as_json:
        print_json(event)
    else:
        print_line(event_line(event))


def _note_outage(fault: LedgerUnavailable) -> None:
    note(f"{fault}; trying again", "yellow")


def _cursor(text: str) -> str:
    from autopay.adapters.postgres.reports.events import START, parse_cursor

    if text == "start":
        return START
    try:
        parse_cursor(text)
    except ValueError:
        raise WrongValue(text, f"{shown(text)} is not a cursor: take one from --json, or `start`") from None
    return text
