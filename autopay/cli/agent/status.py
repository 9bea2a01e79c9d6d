"""`status`: what one agent does, once or every second."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from autopay.cli.agent.status_page import LedgerView, current_sessions, status_page
from autopay.cli.connect.agent_handle import AgentHandle, AgentNotAnswering, agent_handle
from autopay.cli.connect.connections import ledger_of
from autopay.cli.connect.console import note, print_json, print_line, printable, stdout_console
from autopay.cli.connect.event_loop import run_async
from autopay.cli.connect.exit_codes import examples_help
from autopay.cli.connect.options import AgentArgument, HomeOption, JsonOption, agent_name
from autopay.cli.connect.tables import show_table
from autopay.domain.agent.status import AgentState, AgentStatus
from autopay.domain.errors import Fault
from autopay.settings import Settings

REFRESH_S = 1.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    shown = examples_help("status trader", "status trader --watch", "status trader --json")
    app.command("status", epilog=shown)(status)


def status(
    name: AgentArgument,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again every second, until Ctrl-C.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what an agent does, why, and what would change that.

    Its state, its money and sessions, breakers, what is held and what comes next, watches and last requests.
    """
    settings = Settings.load(home=home).resolve("home")
    run_async(_status(settings, agent_name(name), watch=watch, as_json=as_json))


async def _status(settings: Settings, name: str, *, watch: bool, as_json: bool) -> None:
    agent = await agent_handle(settings, name)
    screen = stdout_console()
    async with _ledger(settings, name, as_json=as_json) as view:
        if not watch:
            _print(await agent.status(), await view(), settings, as_json=as_json)
        elif screen.is_terminal and not as_json:
            with Live(console=screen, auto_refresh=False, vertical_overflow="visible") as live:
                async for found in _every_second(agent):
                    page = status_page(found, await view(), datetime.now(UTC), on_localnet=settings.on_localnet)
                    lines = (Text(printable(each)) if isinstance(each, str) else each for each in page)
                    live.update(Group(*lines), refresh=True)
        else:
            async for found in _every_second(agent):
                _print(found, await view(), settings, as_json=as_json)


@asynccontextmanager
async def _ledger(
    settings: Settings, name: str, *, as_json: bool
) -> AsyncIterator[Callable[[], Awaitable[LedgerView]]]:
    """A function that reads the agent's sessions and policy; without a ledger it returns none."""
    if as_json or not settings.database_url:

        async def none() -> LedgerView:
            return LedgerView()

        yield none
        return
    async with ledger_of(settings) as ledger:

        async def read() -> LedgerView:
            try:
                sessions = current_sessions(await ledger.sessions.list(name))
                return LedgerView(sessions, await ledger.policies.in_force(name))
            except Fault as fault:
                note(f"sessions and policy are unknown: {fault}", "yellow")
                return LedgerView()

        yield read


async def _every_second(agent: AgentHandle) -> AsyncIterator[AgentStatus]:
    """Its status about once a second, until it has stopped; goes on while no worker answers."""
    while True:
        try:
            found = await agent.status()
        except AgentNotAnswering as error:
            note(f"{error}; trying again", "yellow")
        else:
            yield found
            if found.state is AgentState.STOPPED:
                return
        await asyncio.sleep(REFRESH_S)


def _print(found: AgentStatus, view: LedgerView, settings: Settings, *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    for each in status_page(found, view, datetime.now(UTC), on_localnet=settings.on_localnet):
        if isinstance(each, str):
            print_line(each)
        else:
            show_table(each)
