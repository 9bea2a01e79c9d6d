"""`demo`: all chapters on the embedded stack, watched live, with the money counted twice."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autopay.cli.connect.connections import ledger_of, vault_of
from autopay.cli.connect.elsewhere import elsewhere_line, settings_elsewhere
from autopay.cli.connect.event_loop import in_foreground, run_async
from autopay.cli.demo.agent_setup import FIRST_ALLOWANCE, launch_order
from autopay.cli.demo.display import Display, console_of_demo
from autopay.cli.operate.embedded import require_embedded_stack
from autopay.cli.terminal.console import print_json, print_line
from autopay.cli.terminal.exit_codes import CommandError, ExitCode, examples_help
from autopay.domain.errors import SettingsError
from autopay.domain.money import show
from autopay.domain.text.command_line import CALL, command_line
from autopay.settings import Settings
from autopay.settings.stack_file import StackFile

if TYPE_CHECKING:
    from autopay.cli.demo.context import DemoContext
    from autopay.cli.demo.summary import DemoSummary
    from localnet.stack import Stack

HOME = Path(".autopay/demo")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo", epilog=examples_help("demo", "demo --keep", "demo --json | tail -1"))(demo)


def demo(
    home: Annotated[
        Path | None, typer.Option(help="Folder for the state of the stack.", show_default=str(HOME))
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the stack running afterwards, until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON at the end.")] = False,
) -> None:
    """Watch an agent buy data, and the money counted twice.

    Starts PostgreSQL, Temporal, a Solana chain, a facilitator, two paid APIs and a worker on this machine. An agent
    buys by priority, runs out of money and goes on, asks a person, waits while the chain is away, and loses a worker
    in the middle of a payment. Exits 1 when ledger and chain differ.
    """
    require_embedded_stack()
    from localnet.child import StackError
    from localnet.stack import Stack

    settings = Settings.load(home=home or HOME)
    CALL.set(replace(CALL.get(), home=str(settings.home)))
    display = Display(console_of_demo())
    stack = Stack(
        settings.home,
        slot_ms=settings.slot_ms,
        page=True,
        report=display.note,
        check=lambda addresses: check_settings(settings, addresses),
    )
    run = _DemoRun(stack, settings, display)
    try:
        stack.home.hold()
        run_async(
            in_foreground(
                stack,
                run.run(keep=keep),
                lambda: display.note("stopping ... (Ctrl-C again to kill)"),
                lambda: display.waiting_alone("all parts of the stack to stop"),
            )
        )
    except StackError as error:
        raise CommandError(str(error), ExitCode.FAULT) from None
    if run.summary is None:
        raise typer.Exit(ExitCode.INTERRUPTED)
    if as_json:
        print_json(run.summary.as_json())
    raise typer.Exit(ExitCode.OK if run.summary.ok else ExitCode.FAULT)


def check_settings(settings: Settings, addresses: StackFile) -> None:
    """Refuse settings that would have the demo buy, sign or book anywhere else."""
    clauses = settings_elsewhere(settings, addresses)
    if clauses:
        raise SettingsError(f"the demo plays on the embedded stack only, but: {elsewhere_line(clauses)}")


class _DemoRun:
    """One run of the demo; `summary` is set when all chapters are done."""

    def __init__(self, stack: Stack, settings: Settings, display: Display) -> None:
        self.summary: DemoSummary | None = None
        self._stack = stack
        self._unresolved = settings
        self._display = display

    async def run(self, *, keep: bool) -> None:
        """Start the stack, run all chapters and count the money; the caller stops the stack."""
        from autopay.cli.demo.context import DemoContext, stop_earlier_agents
        from autopay.cli.demo.summary import print_summary
        from autopay.temporal.connection import connect

        display = self._display
        display.note("starting PostgreSQL, Temporal, a Solana chain, a facilitator and two paid APIs ...")
        with display.watching():
            async with display.waiting(self._what_starts):
                addresses = await self._stack.start()
            settings = self._unresolved.resolve()
            if addresses.page:
                display.note(f"watch along: {addresses.page}")
            display.note(f"all of it answers; Temporal's web UI: {addresses.temporal_ui}")
            async with ledger_of(settings) as ledger:
                client = await connect(settings)
                for name in await stop_earlier_agents(settings, ledger, client):
                    display.note(f"agent {name} of an earlier demo still runs: it is stopped")
                context = DemoContext(self._stack, settings, ledger, client, display)
                summary = await self._play(context)
        display.show_payments()
        print_summary(summary)
        self._explain(context, keep=keep)
        self.summary = summary
        if keep:
            await asyncio.Event().wait()

    def _what_starts(self) -> str:
        names = self._stack.starting
        return f"{', '.join(names)} to answer" if names else "the ledger's schema"

    async def _play(self, context: DemoContext) -> DemoSummary:
        """Launch the agent and run the chapters; stops the agent also when one fails."""
        from autopay.cli.demo.chapters import CHAPTERS
        from autopay.cli.demo.summary import summarize

        display = self._display
        try:
            async with display.waiting("a worker, and for the sessions to be on chain"):
                await asyncio.gather(self._stack.start_workers(1), self._launch(context))
            display.note("a worker is ready")
            facts: dict[str, dict[str, Any]] = {}
            for key, title, chapter in CHAPTERS:
                display.chapter(title)
                facts[key] = await chapter(context)
            async with display.waiting("the money to be counted twice"):
                return await summarize(context, facts)
        finally:
            async with display.waiting("the agent to stop"):
                await context.stop_agent()

    async def _launch(self, context: DemoContext) -> None:
        """Create the agent, paused until the first chapter."""
        from autopay.cli.launch.launch_steps import launch_agent

        wanted = launch_order(context.agent.name, context.addresses, FIRST_ALLOWANCE)
        granted = await launch_agent(
            context.settings, context.ledger, context.client, vault_of(context.settings), wanted
        )
        await context.agent.signal("pause", "until the first chapter")
        for session, currency in zip(granted, wanted.currencies, strict=True):
            key = session.authority[:8]
            context.note(
                f"the owner lets session key {key}… spend {show(FIRST_ALLOWANCE, currency)} ({session.signature[:12]}…)"
            )

    def _explain(self, context: DemoContext, *, keep: bool) -> None:
        print_line(f"All of this took {self._display.seconds:.0f} s, the start of the stack included.")
        if keep:
            page = f"; the page: {context.addresses.page}" if context.addresses.page else ""
            print_line(f"\nThe stack keeps running{page}; Temporal's web UI: {context.addresses.temporal_ui}")
            print_line("What a workflow does now, and why, is in its tab User Metadata.")
            print_line(f"In another terminal: {command_line('ledger', 'show')}")
            feed = f"{context.addresses.market_api}/api/market-feed"
            print_line(f"                     {command_line('request', feed)}")
            print_line("Stop with Ctrl-C.")
        else:
            shown = context.addresses.page or context.addresses.temporal_ui
            print_line(f"To keep looking at it: make demo ARGS=--keep, then open {shown}")
