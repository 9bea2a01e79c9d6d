"""`status`: what one agent does, once or every second."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from autopay.cli.agent.status_page import status_page
from autopay.cli.connect.connections import agent_handle, ledger_of
from autopay.cli.connect.event_loop import run_async
from autopay.cli.terminal.console import note, print_json, print_line, stdout_console
from autopay.cli.terminal.exit_codes import examples_help
from autopay.cli.terminal.options import AgentArgument, HomeOption, JsonOption, agent_name
from autopay.cli.terminal.tables import show_table
from autopay.client.agents.agent_view import AgentView, agent_view
from autopay.client.errors import AgentNotAnswering
from autopay.domain.agent.status import AgentState, AgentStatus
from autopay.domain.errors import Fault
from autopay.domain.text.printable import printable
from autopay.settings import Settings

if TYPE_CHECKING:
    from autopay.client.agents.handle import AgentHandle

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

    Its state, its money and sessions, breakers, what is held and what comes next, watches and last requests. State,
    reason, watches and the queue's order are the agent's own answer; money, counts and questions to a person are the
    ledger's, as `agents` and `ledger spend` tell them.
    """
    settings = Settings.load(home=home).resolve("home")
    run_async(_status(settings, agent_name(name), watch=watch, as_json=as_json))


async def _status(settings: Settings, name: str, *, watch: bool, as_json: bool) -> None:
    agent = await agent_handle(settings, name)
    screen = stdout_console()
    async with _views(settings) as view:
        if not watch:
            _print(await view(await agent.status()), settings, as_json=as_json)
        elif screen.is_terminal and not as_json:
            with Live(console=screen, auto_refresh=False, vertical_overflow="visible") as live:
                async for found in _every_second(agent):
                    page = status_page(await view(found), datetime.now(UTC), on_localnet=settings.on_localnet)
                    lines = (Text(printable(each)) if isinstance(each, str) else each for each in page)
                    live.update(Group(*lines), refresh=True)
        else:
            async for found in _every_second(agent):
                _print(await view(found), settings, as_json=as_json)


@asynccontextmanager
async def _views(settings: Settings) -> AsyncIterator[Callable[[AgentStatus], Awaitable[AgentView]]]:
    """A function that reads the ledger for what the agent has just answered; without a ledger that is all there is."""
    if not settings.database_url:

        async def alone(found: AgentStatus) -> AgentView:
            return agent_view(found, None)

        yield alone
        return
    async with ledger_of(settings) as ledger:

        async def read(found: AgentStatus) -> AgentView:
            try:
                return agent_view(found, await ledger.agents.summary(found.name))
            except Fault as fault:
                note(f"money, sessions and policy are the agent's last reading: {fault}", "yellow")
                return agent_view(found, None)

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


def _print(view: AgentView, settings: Settings, *, as_json: bool) -> None:
    if as_json:
        print_json(view.as_json())
        return
    for each in status_page(view, datetime.now(UTC), on_localnet=settings.on_localnet):
        if isinstance(each, str):
            print_line(each)
        else:
            show_table(each)
