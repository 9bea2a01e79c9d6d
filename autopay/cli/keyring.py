"""`keyring`: the keys that seal secrets."""

import typer

from autopay.adapters.vault import Keyring
from autopay.cli.console import say_result
from autopay.cli.exits import examples


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("keyring", epilog=examples("keyring > keyring.txt"))(keyring)


def keyring() -> None:
    """Print a fresh AUTOPAY_KEYRING; a secret.

    Every worker and command of one ledger needs the same one. Without it nothing that it sealed can be opened again.
    The embedded stack makes its own.
    """
    say_result(Keyring.generate().dump())
