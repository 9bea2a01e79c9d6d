"""`status`, `pause`, `resume` and `stop`: what an agent does, and telling it to wait or end."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from autopay.cli.agent.status_page import current_sessions, status_page
from autopay.cli.connect.agent_handle import AgentHandle, AgentNotAnswering, AgentNotRunning
from autopay.cli.connect.connections import ledger_of
from autopay.cli.connect.console import note, print_json, print_line, printable, stdout_console
from autopay.cli.connect.exit_codes import CommandError, examples_help
from autopay.cli.connect.invocation import HomeOption, JsonOption, run_async
from autopay.cli.connect.options import agent_name
from autopay.domain.agent.status import AgentState, AgentStatus
from autopay.domain.errors import Fault
from autopay.domain.session import SessionRecord
from autopay.settings import Settings
from autopay.temporal.connection import connect

REFRESH_S = 1.0

Name = Annotated[str, typer.Argument(help="The agent's name.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("status", epilog=examples_help("status trader", "status trader --watch", "status trader --json"))(
        status
    )
    app.command("pause", epilog=examples_help('pause trader --reason "waiting for the audit"'))(pause)
    app.command("resume", epilog=examples_help("resume trader"))(resume)
    app.command("stop", epilog=examples_help("stop trader", "stop trader --wait"))(stop)


def pause(
    name: Name,
    reason: Annotated[str | None, typer.Option(help="Shown in its status and in the Temporal UI.")] = None,
    home: HomeOption = None,
) -> None:
    """Let an agent buy nothing new.

    What is in flight finishes, and what waits is kept.
    """
    run_async(_signal(Settings.load(home=home), name, "pause", reason))
    note(f"agent {name} pauses", "green")


def resume(name: Name, home: HomeOption = None) -> None:
    """Let a paused agent go on."""
    run_async(_signal(Settings.load(home=home), name, "resume"))
    note(f"agent {name} goes on", "green")


def stop(
    name: Name,
    wait: Annotated[bool, typer.Option("--wait", help="Return when what is in flight has settled.")] = False,
    home: HomeOption = None,
) -> None:
    """End an agent, once what is in flight has settled.

    What waits stays in its queue; `launch` starts it again.
    """
    run_async(_signal(Settings.load(home=home), name, "stop", wait=wait))
    note(f"agent {name} {'has stopped' if wait else 'stops'}", "green")


async def _signal(settings: Settings, name: str, signal: str, *arguments: str | None, wait: bool = False) -> None:
    calls = await calls_of(settings, name)
    try:
        await calls.signal(signal, *arguments)
        if wait:
            await calls.wait_until_stopped()
    except AgentNotRunning:
        raise not_running(name) from None


async def calls_of(settings: Settings, name: str) -> AgentHandle:
    """The agent of that name, seen from outside."""
    settings = settings.resolve("home")
    return AgentHandle(await connect(settings), agent_name(name), settings.task_queue)


def not_running(name: str) -> CommandError:
    """What to tell when nobody hears."""
    return CommandError(f"no agent {name!r} runs: see `starter.py agents`, or `starter.py launch {name}`")


def status(
    name: Name,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again every second, until Ctrl-C.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what an agent is doing, why, and what would change that.

    Its state, its money and sessions, breakers, what is held and what comes next, watches and last requests.
    """
    settings = Settings.load(home=home).resolve("home")
    run_async(_status(settings, agent_name(name), watch=watch, as_json=as_json))


async def _status(settings: Settings, name: str, *, watch: bool, as_json: bool) -> None:
    calls = AgentHandle(await connect(settings), name, settings.task_queue)
    screen = stdout_console()
    async with _sessions(settings, name, as_json=as_json) as sessions:
        if not watch:
            _print(await _seen(calls), await sessions(), settings, as_json=as_json)
        elif screen.is_terminal and not as_json:
            with Live(console=screen, auto_refresh=False, vertical_overflow="visible") as live:
                async for found in _again(calls):
                    page = status_page(found, await sessions(), datetime.now(UTC), on_localnet=settings.on_localnet)
                    lines = (Text(printable(each)) if isinstance(each, str) else each for each in page)
                    live.update(Group(*lines), refresh=True)
        else:
            async for found in _again(calls):
                _print(found, await sessions(), settings, as_json=as_json)


@asynccontextmanager
async def _sessions(
    settings: Settings, name: str, *, as_json: bool
) -> AsyncIterator[Callable[[], Awaitable[Sequence[SessionRecord]]]]:
    """Asks the ledger for the agent's sessions; without a ledger at hand the rest is shown all the same."""
    if as_json or not settings.database_url:

        async def nothing() -> Sequence[SessionRecord]:
            return ()

        yield nothing
        return
    async with ledger_of(settings) as ledger:

        async def read() -> Sequence[SessionRecord]:
            try:
                return current_sessions(await ledger.sessions.list(name))
            except Fault as fault:
                note(f"sessions are unknown: {fault}", "yellow")
                return ()

        yield read


async def _again(calls: AgentHandle) -> AsyncIterator[AgentStatus]:
    """Its status about once a second, until it has stopped; a while of silence is waited out."""
    while True:
        try:
            found = await _seen(calls)
        except AgentNotAnswering as silence:
            note(f"{silence}; trying again", "yellow")
        else:
            yield found
            if found.state is AgentState.STOPPED:
                return
        await asyncio.sleep(REFRESH_S)


async def _seen(calls: AgentHandle) -> AgentStatus:
    try:
        return await calls.status()
    except AgentNotRunning:
        raise not_running(calls.name) from None


def _print(found: AgentStatus, sessions: Sequence[SessionRecord], settings: Settings, *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    for each in status_page(found, sessions, datetime.now(UTC), on_localnet=settings.on_localnet):
        if isinstance(each, str):
            print_line(each)
        else:
            stdout_console().print(each)
