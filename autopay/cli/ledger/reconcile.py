"""`ledger reconcile`: compares the ledger's bookings with the chain, to the unit."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn

from autopay.adapters.checkpoint import CheckpointFile
from autopay.cli.connect.connections import ledger_of, node_rpc
from autopay.cli.connect.event_loop import run_async
from autopay.cli.ledger.rebook import rebook, show_rebooked
from autopay.cli.terminal.console import note, print_json, print_line, stderr_console
from autopay.cli.terminal.exit_codes import CommandError, ExitCode, examples_help
from autopay.cli.terminal.options import HomeOption, JsonOption, agent_name
from autopay.cli.terminal.tables import print_table
from autopay.domain.progress import OnProgress
from autopay.domain.progress import Progress as ProgressMessage
from autopay.domain.reconcile.checkpoint import Checkpoint
from autopay.domain.reconcile.report import ReconcileReport, ReportEntry
from autopay.domain.reconcile.run import ReconcileRun
from autopay.settings import Settings


def register(ledger: typer.Typer) -> None:
    """Add the command to the group `ledger`."""
    shown = examples_help(
        "ledger reconcile",
        "ledger reconcile --agent trader --json",
        "ledger reconcile --checkpoint reconciled.json",
        "ledger reconcile --book",
    )
    ledger.command("reconcile", epilog=shown)(reconcile)


def reconcile(
    agent: Annotated[str | None, typer.Option(help="Sessions of this agent only.")] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Remember here what was compared: the next run walks only what is newer.", dir_okay=False),
    ] = None,
    book: Annotated[
        bool, typer.Option("--book", help="After a restore: book what the chain shows, and lift the fence.")
    ] = False,
    despite: Annotated[
        str | None, typer.Option(metavar="REASON", help="With --book: lift it in spite of what does not fit.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the ledger with the chain, as of the finalized slot.

    Every transfer that a session key made must be booked, every booked payment must be on chain, and the totals must
    be equal. Ends with 1 when they are not. Payments still under way are listed as unresolved: they are no mismatch.

    A restored ledger is fenced: nothing is signed until --book has booked what was paid after the backup, which takes
    a minute or two, as payments that are under way must be final first.
    """
    name = None if agent is None else agent_name(agent)
    settings = Settings.load(home=home).resolve("database_url", "solana_rpc_url")
    if despite is not None and not book:
        raise CommandError("--despite belongs to --book", ExitCode.USAGE)
    if book:
        if agent is not None or checkpoint is not None:
            raise CommandError("--book is about the whole ledger: leave out --agent and --checkpoint", ExitCode.USAGE)
        if (rebooked := run_async(rebook(settings, despite))) is not None:
            if as_json:
                print_json(rebooked)
            else:
                show_rebooked(rebooked)
            raise typer.Exit(ExitCode.OK if rebooked.lifted else ExitCode.FAULT)
        note("no fence is up, so there is nothing to book")
    with _progress() as on_progress:
        found = run_async(reconcile_ledger(settings, name, checkpoint, on_progress))
    if as_json:
        print_json(found)
    else:
        _show(found, checkpoint)
    raise typer.Exit(ExitCode.OK if found.ok else ExitCode.FAULT)


async def reconcile_ledger(
    settings: Settings, agent: str | None, checkpoint: Path | None, on_progress: OnProgress
) -> ReconcileReport:
    """Compare every session of the agent, or of all agents, with the chain; see `ReconcileRun`."""
    from autopay.adapters.solana.history import SolanaHistory

    file = CheckpointFile(checkpoint) if checkpoint is not None else None
    state = file.read(settings.network) if file else Checkpoint(network=settings.network)
    try:
        async with ledger_of(settings, agent) as ledger, node_rpc(settings) as rpc:
            save = file.save if file else (lambda _: None)
            run = ReconcileRun(ledger.reconciliation, SolanaHistory(rpc), settings.network, state, save, on_progress)
            return await run.run(agent)
    finally:
        if file:
            file.flush()


@contextmanager
def _progress() -> Iterator[OnProgress]:
    """A line on a terminal's stderr, gone when the walk is done."""
    columns = (TextColumn("reconciling"), BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=stderr_console(), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("", total=None)

        def show(message: ProgressMessage) -> None:
            progress.update(task, completed=message.done, total=message.total, description=message.text)

        yield show


def _show(found: ReconcileReport, checkpoint: Path | None) -> None:
    whose = f"agent {found.agent}" if found.agent else "all agents"
    print_line(f"{whose}, {found.sessions} sessions, as of finalized slot {found.as_of_slot}")
    print_line(
        f"payments: {found.payments} in the ledger, {found.on_chain} on chain; "
        f"{found.others} transactions of these accounts are none of our payments"
    )
    if found.spent_ledger:
        rows = ((each, found.spent_ledger[each], found.spent_chain[each]) for each in found.spent_ledger)
        print_table(("currency", "ledger", "chain"), rows)
    _entries("in the ledger, and not on chain:", found.unmatched_ledger)
    _entries("on chain, and not so in the ledger:", found.unmatched_chain)
    _entries("unresolved, which is no mismatch:", found.unresolved)
    if found.ok:
        note("ledger and chain agree", "green")
        return
    note("ledger and chain differ", "red")
    if checkpoint is not None and not (found.unmatched_ledger or found.unmatched_chain):
        note("what differs is older than the checkpoint: reconcile without it to see what")


def _entries(title: str, entries: Sequence[ReportEntry]) -> None:
    """A line each, never cut: the signature is what is looked up next."""
    if entries:
        print_line(title)
    for each in entries:
        whose = f"{each.agent} {each.request_id} {each.status}" if each.status else each.agent
        slot = f", slot {each.slot}" if each.slot is not None else ""
        signature = f", transaction {each.transaction}" if each.transaction else ""
        print_line(f"  {each.reason.value}: {whose}, {each.amount} {each.currency.value}{slot}{signature}")
