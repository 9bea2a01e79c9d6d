"""`up`: the embedded stack in the foreground."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autopay.cli.connect.elsewhere import elsewhere_line, settings_elsewhere
from autopay.cli.connect.event_loop import in_foreground
from autopay.cli.operate.embedded import require_embedded_stack
from autopay.cli.terminal.console import note, print_json, print_line
from autopay.cli.terminal.exit_codes import CommandError, ExitCode, examples_help
from autopay.client.errors import start_worker
from autopay.domain.errors import SettingsError
from autopay.domain.text.command_line import worker_command_line
from autopay.settings import Settings
from autopay.settings.stack_file import StackFile

if TYPE_CHECKING:
    from localnet.stack import Stack

_TITLES = {
    "page": "The page",
    "api": "API",
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
    page: Annotated[bool, typer.Option("--page/--no-page", help="Serve the API and the page as well.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the addresses as one line of JSON.")] = False,
) -> None:
    """Run the embedded stack in the foreground.

    That is PostgreSQL, Temporal, a Solana chain, a facilitator, two paid APIs and the page, all on this machine. It
    runs until Ctrl-C and keeps its state for the next time. Other commands with the same home find it by themselves.

    Exits 0 when it is stopped, 130 when that is before all of it answered, 1 when a part does not start or keeps
    dying, 2 when settings would send its workers to another chain, Temporal or ledger. No part is left running.
    """
    settings = Settings.load(home=home, slot_ms=slot_ms)
    require_embedded_stack()
    from localnet.child import StackError
    from localnet.stack import Stack

    count = workers or int(worker)
    stack = Stack(
        settings.home,
        slot_ms=settings.slot_ms,
        workers=count,
        page=page,
        report=note,
        check=lambda addresses: check_settings(settings, addresses, count),
    )
    stay = _Stay(stack, as_json)
    try:
        stack.home.hold()
        asyncio.run(in_foreground(stack, stay.run(), lambda: _tell_stopping(as_json)))
    except StackError as error:
        raise CommandError(str(error), ExitCode.FAULT) from None
    except BrokenPipeError:
        raise CommandError("nobody reads what `up` prints, so it was stopped", ExitCode.FAULT) from None
    if not stay.ready:
        raise typer.Exit(ExitCode.INTERRUPTED)


def check_settings(settings: Settings, addresses: StackFile, workers: int) -> None:
    """Refuse workers that would not work on this stack; tell of other commands, which take the same settings."""
    clauses = settings_elsewhere(settings, addresses)
    if clauses and workers:
        raise SettingsError(
            f"the worker would not work on the embedded stack, because of {elsewhere_line(clauses)}, "
            f"or leave the worker to: {worker_command_line()}"
        )
    if clauses:
        note(
            f"workers and commands with these settings do not use all of this stack: {elsewhere_line(clauses)}",
            "yellow",
        )


def _tell_stopping(as_json: bool) -> None:
    if not as_json:
        note("stopping ... (Ctrl-C again to kill)")


class _Stay:
    """Starts the stack and stays; `ready` once everything answers."""

    def __init__(self, stack: "Stack", as_json: bool) -> None:
        self.ready = False
        self._stack = stack
        self._as_json = as_json

    async def run(self) -> None:
        """Return never; raise when the stack cannot go on."""
        if not self._as_json:
            note(f"starting the embedded stack in {self._stack.home.path} ...")
        addresses = await self._stack.start()
        self.ready = True
        _show(addresses, self._stack.names, self._as_json)
        await self._stack.run()


def _show(addresses: StackFile, names: list[str], as_json: bool) -> None:
    if as_json:
        print_json({key: getattr(addresses, key) for key in _TITLES})
        return
    for key, title in _TITLES.items():
        if address := getattr(addresses, key):
            print_line(f"{title:<20}{address}")
    if not addresses.page:
        note("the page is not served: see `serve`, which needs autopay[api]")
    workers = [name for name in names if name.startswith("worker-")]
    if not workers:
        note(f"no worker runs yet; {start_worker()}")
    note("Ready. Stop with Ctrl-C.")
