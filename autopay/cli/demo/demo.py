"""`demo`: the whole story on the embedded stack, watched live, with the money counted twice."""

import asyncio
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.live import Live

from autopay.cli.agent.launch_steps import launch_agent
from autopay.cli.connect.connections import ledger_of, vault_of
from autopay.cli.connect.console import note, print_json, print_line
from autopay.cli.connect.event_loop import in_foreground, run_async
from autopay.cli.connect.exit_codes import CommandError, ExitCode, examples_help
from autopay.cli.demo.agent_setup import LITTLE, order
from autopay.cli.demo.chapters import CHAPTERS
from autopay.cli.demo.context import DemoContext, stop_earlier
from autopay.cli.demo.display import Display, console_of_demo
from autopay.cli.demo.summary import DemoSummary, print_summary, summarize
from autopay.domain.money import show
from autopay.settings import Settings
from autopay.temporal.connection import connect

if TYPE_CHECKING:
    from localnet.stack import Stack

HOME = Path(".autopay/demo")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo", epilog=examples_help("demo", "demo --keep", "demo --json | tail -1"))(demo)


def demo(
    home: Annotated[Path | None, typer.Option(help="Where its state is kept.", show_default=str(HOME))] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the stack running afterwards, until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="End with one line of JSON.")] = False,
) -> None:
    """Watch an agent buy data through good and bad days, and the money counted twice.

    Starts PostgreSQL, Temporal, a Solana chain, a facilitator, two paid APIs and a worker on this machine. An agent
    buys by priority, runs out of money and goes on, asks a person, sits out an outage of the chain and the death of
    a worker. Exits 1 when ledger and chain differ.
    """
    try:
        from localnet.child import StackError  # noqa: PLC0415 (an extra that may not be installed)
        from localnet.stack import Stack  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise CommandError(f"the embedded stack needs {error.name}: pip install 'autopay[localnet]'") from None
    settings = Settings.load(home=home or HOME)
    board = Display(console_of_demo())
    stack = Stack(settings.home, slot_ms=settings.slot_ms, report=board.say)
    show_ = _Show(stack, settings, board)
    try:
        stack.home.hold()
        run_async(in_foreground(stack, show_.run(keep=keep), lambda: note("stopping ... (Ctrl-C again to kill)")))
    except StackError as error:
        raise CommandError(str(error), ExitCode.FAULT) from None
    if show_.verdict is None:
        raise typer.Exit(ExitCode.INTERRUPTED)
    if as_json:
        print_json(show_.verdict.as_json())
    raise typer.Exit(ExitCode.OK if show_.verdict.ok else ExitCode.FAULT)


class _Show:
    """One run of the demo; `verdict` is there when the story has come to its end."""

    def __init__(self, stack: "Stack", settings: Settings, board: Display) -> None:
        self.verdict: DemoSummary | None = None
        self._stack = stack
        self._unresolved = settings
        self._board = board

    async def run(self, *, keep: bool) -> None:
        """From the start of the stack to the last count; the caller stops the stack."""
        board = self._board
        board.say("starting PostgreSQL, Temporal, a Solana chain, a facilitator and two paid APIs ...")
        addresses = await self._stack.start()
        settings = self._unresolved.resolve()
        board.say(f"all of it answers; watch along in Temporal's web UI: {addresses.temporal_ui}")
        async with ledger_of(settings) as ledger:
            client = await connect(settings)
            for name in await stop_earlier(settings, ledger, client):
                board.say(f"agent {name} of an earlier demo has not ended: it is told to stop")
            stage = DemoContext(self._stack, settings, ledger, client, board)
            verdict = await self._play(stage)
        print_summary(verdict)
        self._explain(stage, keep=keep)
        self.verdict = verdict
        if keep:
            await asyncio.Event().wait()

    async def _play(self, stage: DemoContext) -> DemoSummary:
        """The agent's whole life; however it ends, the agent buys no more."""
        board = self._board
        try:
            await asyncio.gather(self._stack.start_workers(1), self._launch(stage))
            board.say("a worker is ready")
            facts: dict[str, dict[str, Any]] = {}
            with (
                Live(console=board.console, auto_refresh=False) if board.console.is_terminal else nullcontext() as live
            ):
                board.live = live
                for key, title, chapter in CHAPTERS:
                    board.chapter(title)
                    facts[key] = await chapter(stage)
            board.live = None
            return await summarize(stage, facts)
        finally:
            board.live = None
            await stage.leave()

    async def _launch(self, stage: DemoContext) -> None:
        """Create the agent, paused until the first chapter."""
        wanted = order(stage.agent.name, stage.addresses, LITTLE)
        granted = await launch_agent(stage.settings, stage.ledger, stage.client, vault_of(stage.settings), wanted)
        await stage.agent.signal("pause", "until the story begins")
        for session, currency in zip(granted, wanted.currencies, strict=True):
            key = session.authority[:8]
            stage.say(f"the owner lets session key {key}… spend {show(LITTLE, currency)} ({session.signature[:12]}…)")

    def _explain(self, stage: DemoContext, *, keep: bool) -> None:
        home = f" --home {stage.settings.home}" if stage.settings.home != Path(".autopay") else ""
        print_line(f"All of this took {self._board.seconds:.0f} s, the start of the stack included.")
        if keep:
            starter = ".venv/bin/python starter.py"
            print_line(f"\nThe stack keeps running; Temporal's web UI: {stage.addresses.temporal_ui}")
            print_line(f"In another terminal: {starter} ledger show{home}")
            print_line(f"                     {starter} request {stage.addresses.market_api}/api/market-feed{home}")
            print_line("Stop with Ctrl-C.")
        else:
            print_line(f"To keep looking at it: make demo ARGS=--keep, then open {stage.addresses.temporal_ui}")
