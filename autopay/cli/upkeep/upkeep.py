"""`upkeep`: checks, anchors and prunes the ledger by schedule, in a process of its own."""

from pathlib import Path
from typing import Annotated

import typer

from autopay.cli.terminal.exit_codes import examples_help
from autopay.cli.terminal.options import HomeOption
from autopay.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    shown = examples_help("upkeep", "upkeep --alive /tmp/alive")
    app.command("upkeep", epilog=shown)(upkeep)


def upkeep(
    home: HomeOption = None,
    alive: Annotated[
        Path | None, typer.Option(help="Touch this file every 10 s while it works and Temporal answers.")
    ] = None,
) -> None:
    """Check, anchor and prune the ledger by schedule.

    It does what `ledger reconcile`, `verify`, `anchor` and `prune` do, each as often as AUTOPAY_RECONCILE_EVERY,
    AUTOPAY_VERIFY_EVERY, AUTOPAY_ANCHOR_EVERY and AUTOPAY_PRUNE_EVERY (with AUTOPAY_KEEP_CONTENT) say: 1h, 7d. What is
    not set is not done, and its schedule is removed. Each result is an event of the ledger; a check that finds a
    difference is an error in the log and a failed workflow.

    It runs beside the workers until Ctrl-C or SIGTERM, best as the database role autopay_upkeep. Exits 0 when it is
    stopped, 2 when a setting is missing or wrong, 6 when something that it needs does not answer.
    """
    settings = Settings.load(home=home).resolve()

    from autopay.cli.upkeep.run import start

    start(settings, alive)
