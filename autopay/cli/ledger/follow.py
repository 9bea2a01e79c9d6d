"""`ledger follow`: the ledger as it grows, like `tail -f`."""

from contextlib import aclosing
from typing import Annotated

import typer

from autopay.adapters.postgres.reports.events import START, LedgerEvent, parse_cursor
from autopay.cli.connect.connections import known_agent, ledger_of
from autopay.cli.connect.console import note, print_json, print_line
from autopay.cli.connect.exit_codes import examples_help
from autopay.cli.connect.invocation import HomeOption, run_async
from autopay.cli.connect.options import agent_name
from autopay.cli.ledger.filters import AgentOption, LinesOption
from autopay.cli.ledger.follow_lines import line_of
from autopay.cli.ledger.output import quiet_broken_pipe
from autopay.domain.errors import LedgerUnavailable
from autopay.settings import Settings


def register(ledger: typer.Typer) -> None:
    """Add the command to the group `ledger`."""
    shown = examples_help(
        "ledger follow", "ledger follow --agent trader --tail 20", "ledger follow --since 734:1021 --json"
    )
    ledger.command("follow", epilog=shown)(follow)


def follow(
    agent: AgentOption = None,
    since: Annotated[
        str | None, typer.Option(help="Go on behind this event; `start` is everything.", metavar="CURSOR")
    ] = None,
    tail: Annotated[int, typer.Option(min=0, max=1_000, help="So many of the last events first.")] = 10,
    home: HomeOption = None,
    as_json: LinesOption = False,
) -> None:
    """Print every change of the ledger as it is committed, until Ctrl-C.

    Nothing is missed and nothing comes twice, also when the database restarts. With --json each line has its cursor.
    """
    name = None if agent is None else agent_name(agent)
    cursor = None if since is None else _cursor(since)
    settings = Settings.load(home=home).resolve("database_url")
    with quiet_broken_pipe():
        run_async(_follow(settings, name, cursor, tail, as_json))


async def _follow(settings: Settings, agent: str | None, cursor: str | None, tail: int, as_json: bool) -> None:
    async with ledger_of(settings) as ledger:
        if agent is not None:
            await known_agent(ledger, agent)
        await ledger.maintenance.check_schema()
        async with aclosing(ledger.events.follow(after=cursor, tail=tail, agent=agent, on_outage=_tell)) as events:
            async for event in events:
                _show(event, as_json)


def _show(event: LedgerEvent, as_json: bool) -> None:
    if as_json:
        print_json(event)
    else:
        print_line(line_of(event))


def _tell(fault: LedgerUnavailable) -> None:
    note(f"{fault}; trying again", "yellow")


def _cursor(text: str) -> str:
    if text == "start":
        return START
    try:
        parse_cursor(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a cursor: take one from --json, or say start") from None
    return text
