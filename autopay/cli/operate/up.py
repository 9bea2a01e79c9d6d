"""`up`: the embedded stack in the foreground."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autopay.cli.connect.agent_handle import start_worker
from autopay.cli.connect.console import note, print_json, print_line
from autopay.cli.connect.event_loop import in_foreground
from autopay.cli.connect.exit_codes import CommandError, ExitCode, examples_help
from autopay.settings import Settings
from autopay.stack_file import StackFile

if TYPE_CHECKING:
    from localnet.stack import Stack

_TITLES = {
    "temporal": "Temporal",
    "temporal_ui": "Temporal web UI",
    "codec": "Payload codec",
    "database_url": "PostgreSQL",
    "solana_rpc": "Solana RPC",
    "facilitator": "Facilitator",
    "market_api": "Market Data API",
    "knowledge_api": "Knowledge Data API",
    "home": "State and logs",
}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "up",
        epilog=examples_help("up", "up --worker", "up --workers 3", "up --home /tmp/pay --json"),
    )(up)


def up(
    home: Annotated[Path | None, typer.Option(help="Folder for its state.", show_default=".autopay")] = None,
    worker: Annotated[bool, typer.Option("--worker", help="Run a worker as well.")] = False,
    workers: Annotated[int, typer.Option(min=0, max=32, help="Run this many workers.")] = 0,
    slot_ms: Annotated[
        int | None, typer.Option(min=10, max=10_000, help="Milliseconds of a slot.", show_default="400")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the addresses as one line of JSON.")] = False,
) -> None:
    """Run the embedded stack in the foreground.

    That is PostgreSQL, Temporal, a Solana chain, a facilitator and two paid APIs, all on this machine. It runs
    until Ctrl-C and keeps its state for the next time. Other commands with the same home find it by themselves.
    """
    settings = Settings.load(home=home, slot_ms=slot_ms)
    try:
        from localnet.child import StackError  # noqa: PLC0415 (an extra that may not be installed)
        from localnet.stack import Stack  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise CommandError(f"the embedded stack needs {error.name}: pip install 'autopay[localnet]'") from None
    stack = Stack(settings.home, slot_ms=settings.slot_ms, workers=workers or int(worker), report=note)
    try:
        stack.home.hold()
        asyncio.run(in_foreground(stack, _start_and_stay(stack, as_json), lambda: _tell_stopping(as_json)))
    except StackError as error:
        raise CommandError(str(error), ExitCode.FAULT) from None


def _tell_stopping(as_json: bool) -> None:
    if not as_json:
        note("stopping ... (Ctrl-C again to kill)")


async def _start_and_stay(stack: "Stack", as_json: bool) -> None:
    if not as_json:
        note(f"starting the embedded stack in {stack.home.path} ...")
    _show(await stack.start(), stack.names, as_json)
    await stack.run()


def _show(addresses: StackFile, names: list[str], as_json: bool) -> None:
    if as_json:
        print_json({key: getattr(addresses, key) for key in _TITLES})
        return
    for key, title in _TITLES.items():
        print_line(f"{title:<20}{getattr(addresses, key)}")
    workers = [name for name in names if name.startswith("worker-")]
    if not workers:
        note(f"no worker runs yet; {start_worker()}")
    note("Ready. Stop with Ctrl-C.")
