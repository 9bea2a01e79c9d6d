"""The group `ledger`: what was paid, for what, and the proof of it."""

import typer

from autopay.cli.ledger import anchor, disputes, export, follow, prune, reconcile, resolve, show, spend, verify

HELP = "See what was paid, and check it against the chain."


def register(app: typer.Typer) -> None:
    """Add the group."""
    ledger = typer.Typer(help=HELP, no_args_is_help=True)
    for module in (show, export, spend, follow, prune, reconcile, resolve, disputes, verify, anchor):
        module.register(ledger)
    app.add_typer(ledger, name="ledger")
