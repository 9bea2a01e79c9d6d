"""`worker`: a worker as a command, which is `worker.py` of the repository."""

from pathlib import Path
from typing import Annotated

import typer

from autopay.cli.terminal.exit_codes import CommandError, ExitCode, examples_help
from autopay.cli.terminal.options import HomeOption
from autopay.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("worker", epilog=examples_help("worker", "worker --home /tmp/pay", "worker --alive /tmp/alive"))(work)


def work(
    home: HomeOption = None,
    alive: Annotated[
        Path | None, typer.Option(help="Touch this file every 10 s while it works and Temporal answers.")
    ] = None,
) -> None:
    """Run a worker, which carries out agents and payments.

    It takes everything from the settings or from the embedded stack of the same home, and works until Ctrl-C or
    SIGTERM; what is in flight then has 30 s to finish. Run as many as you like: they hold no state.

    Exits 0 when it is stopped, 2 when a setting is missing or wrong, 6 when something that it needs does not answer.
    """
    settings = Settings.load(home=home).resolve().for_work()

    from worker import start

    try:
        start(settings, alive)
    except ValueError as error:
        raise CommandError(str(error), ExitCode.FAULT) from None
