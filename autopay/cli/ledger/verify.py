"""`ledger verify`: checks the ledger against its own events, its anchors and the chain."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.progress import Progress, TextColumn

from autopay.cli.connect.event_loop import run_async
from autopay.cli.terminal.console import note, print_json, print_line, stderr_console
from autopay.cli.terminal.exit_codes import ExitCode, examples_help
from autopay.cli.terminal.options import HomeOption, JsonOption, agent_name
from autopay.domain.audit.events import NO_AGENT
from autopay.domain.audit.report import AuditFinding, AuditReport
from autopay.domain.progress import OnProgress
from autopay.settings import Settings


def register(ledger: typer.Typer) -> None:
    """Add the command to the group `ledger`."""
    shown = examples_help("ledger verify", "ledger verify --on-chain", "ledger verify --agent trader --json")
    ledger.command("verify", epilog=shown)(verify)


def verify(
    agent: Annotated[str | None, typer.Option(help="The chain and the rows of this agent only.")] = None,
    on_chain: Annotated[
        bool, typer.Option("--on-chain", help="Compare every VERIFIED payment with the chain's blocks, too.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check that nobody changed the ledger past its own rules.

    Every event must follow the one before it, every row must be what its events say, and every anchor must be in the
    chains of events; where a Solana node is set, it is asked for the anchors. Ends with 1 when something does not fit.
    """
    name = None if agent is None else agent_name(agent)
    settings = Settings.load(home=home).resolve("database_url", *(["solana_rpc_url"] if on_chain else []))

    from autopay.cli.ledger.verify_steps import audit_ledger

    with _progress() as on_progress:
        report = run_async(audit_ledger(settings, name, on_chain=on_chain, on_progress=on_progress))
    if as_json:
        print_json(report)
    else:
        _show(report)
    raise typer.Exit(ExitCode.OK if report.ok else ExitCode.FAULT)


@contextmanager
def _progress() -> Iterator[OnProgress]:
    """A line on a terminal's stderr, gone when the check is done."""
    column = TextColumn("verifying: {task.description}")
    with Progress(column, console=stderr_console(), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("", total=None)
        yield lambda message: progress.update(task, description=message.text)


def _show(report: AuditReport) -> None:
    whose = f"agent {report.agent}" if report.agent else "all agents"
    print_line(
        f"{whose}: {report.events} events in {report.chains} chains, {report.rows} rows, {report.anchors} anchors"
    )
    if report.anchors_on_chain is not None:
        print_line(f"on chain: {report.anchors_on_chain} anchors" + _payments(report.payments_on_chain))
    if report.anchored is not None:
        last = report.anchored
        print_line(
            f"last anchor: {last.created_at:%F %T} UTC, slot {last.slot}, transaction {last.signature}, "
            f"{last.events_since} events since"
        )
    for each in report.findings:
        _show_finding(each)
    if report.found > len(report.findings):
        print_line(f"... and {report.found - len(report.findings)} more")
    note("the ledger proves itself" if report.ok else f"{report.found} things do not fit", _style(report))
    note("what this cannot exclude:")
    for line in report.excludes_not:
        note(f"  {line}")


def _payments(count: int | None) -> str:
    return "" if count is None else f", {count} payments"


def _style(report: AuditReport) -> str:
    return "green" if report.ok else "red"


def _show_finding(finding: AuditFinding) -> None:
    words = [f"{finding.reason.value}:"]
    if finding.agent_id is not None:
        nobody = finding.agent_id == NO_AGENT
        words.append("chain of nobody," if nobody else f"agent {finding.agent or finding.agent_id},")
    if finding.seq is not None:
        words.append(f"event {finding.seq},")
    if finding.row_id is not None:
        words.append(f"row {finding.row_id} of {finding.table},")
    print_line(" ".join([*words, finding.detail]))
    for each in finding.around:
        mark = "->" if each.seq == finding.seq else "  "
        print_line(f"  {mark} event {each.seq} {each.at:%F %T} {each.kind} of row {each.row_id}, hash {each.hash}")
