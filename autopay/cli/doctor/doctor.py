"""`doctor`: looks at everything that Autopay works with, and says what to do about each that is not well."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from autopay.cli.connect.event_loop import run_async
from autopay.cli.terminal.console import note, print_json, stdout_console
from autopay.cli.terminal.exit_codes import ExitCode, examples_help
from autopay.cli.terminal.options import HomeOption, JsonOption
from autopay.cli.terminal.tables import wrapped
from autopay.domain.text.printable import printable

if TYPE_CHECKING:
    from autopay.cli.doctor.results import DoctorReport, State

WORDS: dict[State, tuple[str, str]] = {
    "ok": ("ok", "green"),
    "warning": ("warning", "yellow"),
    "failed": ("FAILED", "bold red"),
    "unknown": ("", "dim"),
}
"""How each state is written, and in which style."""

NARROWEST = 40
"""Columns for what was seen, however narrow the terminal is."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor", epilog=examples_help("doctor", "doctor --json", "doctor --home /tmp/pay"))(doctor)


def doctor(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Look for what keeps Autopay from working, and say what to do.

    It looks at settings, database, ledger, Temporal, workers, the Solana node, sessions and this machine, and changes
    nothing. What each check means is in docs/doctor.md.

    Exits 0 when nothing has failed (warnings may be there), 1 when something has, 2 when settings are missing or wrong.
    """
    from autopay.cli.doctor.checks import SETTINGS, diagnose

    report = run_async(diagnose(home))
    if as_json:
        print_json(report)
    else:
        _show(report)
    if report.failed(SETTINGS):
        raise typer.Exit(ExitCode.USAGE)
    raise typer.Exit(ExitCode.OK if report.ok else ExitCode.FAULT)


def _show(report: DoctorReport) -> None:
    from rich.text import Text

    console = stdout_console()
    width = console.width if console.is_terminal else shutil.get_terminal_size().columns
    for line, style in _lines(report, width):
        console.print(Text(line, style=style), soft_wrap=True)
    counts = {state: sum(each.state == state for each in report.checks) for state in WORDS}
    said = [f"{counts['failed']} failed", f"{counts['warning']} warnings", f"{counts['unknown']} not looked at"]
    worst = "red" if counts["failed"] else "yellow" if counts["warning"] else "green"
    note(f"{len(report.checks)} checks: {', '.join(said)}", worst)


def _lines(report: DoctorReport, width: int) -> Iterator[tuple[str, str]]:
    """Lines and their styles: each check that has looked, with what to do; at the end those that could not, by why."""
    names, states = max(len(each.name) for each in report.checks), max(len(word) for word, _ in WORDS.values())
    left = states + names + 4
    room = max(width - left, NARROWEST)
    blind: dict[str, list[str]] = {}
    for each in report.checks:
        if each.state == "unknown":
            blind.setdefault(_one_line(each.seen), []).append(each.name)
            continue
        word, style = WORDS[each.state]
        style = "" if each.state == "ok" else style
        first, *others = wrapped(_one_line(each.seen), room)
        yield f"{word:<{states}}  {each.name:<{names}}  {first}", style
        yield from ((" " * left + line, style) for line in others)
        arrow = " " * left + "-> "
        for line in wrapped(_one_line(each.remedy), room - 3) if each.remedy else []:
            yield arrow + line, ""
            arrow = " " * len(arrow)
    for why, checks in blind.items():
        for line in wrapped(f"{why}: {', '.join(checks)}", max(width, NARROWEST)):
            yield line, WORDS["unknown"][1]


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))
