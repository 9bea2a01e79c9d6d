"""`mcp`: the server of tools for LLM agents, over stdio or HTTP; and its line in the configuration of a client."""

import os
import sys
from dataclasses import replace
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from autopay.cli.connect.event_loop import run_async
from autopay.cli.terminal.console import note, print_line
from autopay.cli.terminal.exit_codes import CommandError, examples_help
from autopay.cli.terminal.options import DEFAULT_AGENT, HomeOption, agent_name, amount_atomic
from autopay.domain.money import short_units_text, to_units
from autopay.domain.policy.reach import Reach, is_loopback_name
from autopay.own_call import COMMAND, STARTER
from autopay.settings import Settings
from autopay.settings.environment import ENV_FILE
from autopay.settings.stack_file import running_stack

if TYPE_CHECKING:
    from autopay.mcp.install import Change

LOOPBACK, PORT = "127.0.0.1", 8410
TOKEN_FILE = "mcp-token"  # noqa: S105 - a file's name
SERVER_NAME = "autopay"

_NO_STREAMS = "its standard input or output cannot be used: an MCP client starts it and talks to it there"


def register(app: typer.Typer) -> None:
    """Add the command."""
    shown = examples_help(
        "mcp --agent research --max-price 0.05",
        "mcp --install claude --agent research",
        "mcp --install codex --agent research --print",
        "mcp --agent research --http --port 8410",
    )
    app.command("mcp", epilog=shown)(mcp)


ElicitationOption = Annotated[
    bool | None,
    typer.Option(
        "--elicitation/--no-elicitation",
        help="Whether a person may approve a payment in the client's dialog.",
        show_default="yes over stdio, no over HTTP",
    ),
]
HostOption = Annotated[str | None, typer.Option(help="Address to listen at, with --http.", show_default=LOOPBACK)]
PortOption = Annotated[
    int | None,
    typer.Option(min=0, max=65_535, help="Port to listen at, with --http; 0 is a free one.", show_default=str(PORT)),
]
AllowedHostOption = Annotated[
    list[str] | None, typer.Option(help="A host name that clients call it by, with --http; repeatable.")
]
TokenFileOption = Annotated[
    Path | None,
    typer.Option(
        help="File with the token, with --http; made when there is none.", show_default=f"{TOKEN_FILE} in --home"
    ),
]
DirectoryOption = Annotated[
    Path | None, typer.Option(help="Work in this folder, whose .env and .autopay count.", show_default="this one")
]


def mcp(
    agent: Annotated[str, typer.Option(help="The agent that pays.")] = DEFAULT_AGENT,
    max_price: Annotated[
        str | None, typer.Option(help="No call pays more than this, in token units, whatever the model says: 0.05.")
    ] = None,
    elicitation: ElicitationOption = None,
    http: Annotated[bool, typer.Option("--http", help="Serve streamable HTTP instead of stdio.")] = False,
    host: HostOption = None,
    port: PortOption = None,
    allowed_host: AllowedHostOption = None,
    token_file: TokenFileOption = None,
    install: Annotated[
        str | None, typer.Option(metavar="CLIENT", help="Add the server to the configuration of this client.")
    ] = None,
    only_print: Annotated[bool, typer.Option("--print", help="With --install: show it, and write nothing.")] = False,
    directory: DirectoryOption = None,
    home: HomeOption = None,
) -> None:
    """Serve tools for LLM agents (MCP): they buy through an agent.

    The tools are fetch, quote, result, budget and purchases. None of them changes a limit or a policy, or approves a
    payment. A client starts it by itself; --install tells it how: claude, claude-desktop, codex, cursor, gemini,
    vscode or windsurf.
    """
    _require_extra()
    for_http = {"--host": host, "--port": port, "--allowed-host": allowed_host or None, "--token-file": token_file}
    if not http and (given := [option for option, value in for_http.items() if value is not None]):
        raise typer.BadParameter("is for a server over HTTP: say --http as well", param_hint=given[0])
    if directory is not None:
        _enter(directory)
    name = agent_name(agent)
    most = None if max_price is None else to_units(amount_atomic(max_price))
    if install is not None:
        if http:
            raise typer.BadParameter(
                "a client is told to start it over stdio: leave --http out", param_hint="--install"
            )
        _install(install, _words(name, most, elicitation, home), only_print=only_print)
        return
    if only_print:
        raise typer.BadParameter("shows what --install would write: name the client as well", param_hint="--print")
    served = Served(name, most, _may_ask(elicitation, over_http=http, home=home))
    at = (host or LOOPBACK, PORT if port is None else port)
    run_async(_over_http(home, served, at, allowed_host or [], token_file) if http else _over_stdio(home, served))


def _may_ask(wanted: bool | None, *, over_http: bool, home: Path | None) -> bool:
    """Whether a person may decide in the client's dialog: not over a gateway, and over HTTP only when it is wanted."""
    if home is None and Settings.load().gateway:
        if wanted:
            raise CommandError("nothing is approved over a gateway: leave --elicitation out, and approve by command")
        return False
    return not over_http if wanted is None else wanted


def _require_extra() -> None:
    missing = [name for name in ("mcp", "tomlkit") if find_spec(name) is None]
    if missing:
        raise CommandError(
            f"the MCP server is not installed ({', '.join(missing)} not found): install autopay[mcp], for example by: "
            "pip install 'autopay[mcp]'"
        )


class Served(NamedTuple):
    """What is served: the agent, the most that a call may cost, and whether a person may decide in a dialog."""

    agent: str
    most: Decimal | None
    may_ask: bool


async def _over_stdio(home: Path | None, served: Served) -> None:
    from autopay.mcp.late_client import LateClient
    from autopay.mcp.server import Options, build_server

    if sys.stdin is None or sys.stdout is None:
        raise CommandError(_NO_STREAMS)
    async with LateClient(served.agent, home) as client:
        try:
            await build_server(client, Options(served.most, served.may_ask)).run_stdio_async()
        except ExceptionGroup as errors:
            unread, others = errors.split(OSError)
            if unread is None or others is not None:
                raise
            raise CommandError(_NO_STREAMS) from None


async def _over_http(
    home: Path | None, served: Served, at: tuple[str, int], allowed_hosts: list[str], token_file: Path | None
) -> None:
    from autopay.mcp.http import http_app, serve, token_of
    from autopay.mcp.late_client import LateClient
    from autopay.mcp.server import Options, build_server

    settings = Settings.load(home=home)
    file = token_file or settings.home / TOKEN_FILE
    is_local = is_loopback_name(at[0]) and not allowed_hosts
    reach = replace(Reach.of(settings.allowed_http_hosts, settings.allowed_private_hosts), loopback=is_local)
    token = token_of(file)
    async with LateClient(served.agent, home) as client:
        server = build_server(client, Options(served.most, served.may_ask, one_client=False, reach=reach))

        def ready(url: str) -> None:
            note(f"listens at {url}; clients send the token of {file} as `Authorization: Bearer`; Ctrl-C ends it")

        await serve(http_app(server, token, allowed_hosts), at, ready)


def _enter(directory: Path) -> None:
    try:
        os.chdir(directory.expanduser())
    except (OSError, RuntimeError) as error:
        raise CommandError(f"--directory {directory}: {getattr(error, 'strerror', None) or error}") from None


def _install(which: str, command: list[str], *, only_print: bool) -> None:
    from autopay.mcp.install import change_of, write_change

    change = change_of(which, SERVER_NAME, command)
    if only_print:
        note(f"# {change.path}")
        print_line(change.entry.rstrip("\n"))
    elif change.text is None:
        note(f"{change.path} has it already", "green")
    else:
        copy = write_change(change)
        kept = f"; what was there is in {copy}" if copy is not None else ""
        note(f"{change.client.title}: written to {change.path}{kept}; {change.client.then}", "green")
    _warn_of_settings(change)


def _warn_of_settings(change: "Change") -> None:
    """A client starts the server without the variables of this shell."""
    only_here = sorted(
        name for name in os.environ if name.startswith(("AUTOPAY_", "TEMPORAL_")) and name != "AUTOPAY_HOME"
    )
    if only_here:
        names = ", ".join(only_here)
        file = Path.cwd() / ENV_FILE
        note(f"{change.client.title} does not know the variables of this shell: put {names} into {file}", "yellow")


def _words(agent: str, most: Decimal | None, elicitation: bool | None, home: Path | None) -> list[str]:
    """The command by which a client starts the server, from whatever folder."""
    words = [*_program(), "mcp", "--agent", agent]
    if most is not None:
        words += ["--max-price", short_units_text(amount_atomic(str(most)))]
    if elicitation is not None:
        words.append("--elicitation" if elicitation else "--no-elicitation")
    folder = Settings.load(home=home).home
    if home is not None or running_stack(folder) is not None:
        words += ["--home", str(folder.absolute())]
    return [*words, "--directory", str(Path.cwd())]


def _program() -> list[str]:
    """This program, by its whole path."""
    script, installed = Path(sys.argv[0]).absolute(), Path(sys.executable).absolute().with_name(COMMAND)
    if script.name == STARTER:
        return [str(Path(sys.executable).absolute()), str(script)]
    if script.name == COMMAND and script.is_file():
        return [str(script)]
    return [str(installed)] if installed.is_file() else [str(Path(sys.executable).absolute()), "-m", COMMAND]
