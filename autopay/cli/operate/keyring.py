"""`keyring`: the keys that encrypt secrets."""

from contextlib import suppress
from typing import Annotated

import typer

from autopay.adapters.vault import Keyring
from autopay.cli.connect.connections import ledger_of
from autopay.cli.connect.console import note, print_line
from autopay.cli.connect.event_loop import run_async
from autopay.cli.connect.exit_codes import examples_help
from autopay.cli.connect.options import HomeOption
from autopay.domain.errors import LedgerUnavailable, NotMigrated
from autopay.settings import Settings, SettingsError
from autopay.stack_file import KEYRING_FILE


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("keyring", epilog=examples_help("keyring > keyring.txt", "keyring --add > rotated.txt"))(keyring)


def keyring(
    add: Annotated[
        bool, typer.Option("--add", help="Print the present keyring with one more key, which encrypts from now on.")
    ] = False,
    home: HomeOption = None,
) -> None:
    """Print a new keyring for AUTOPAY_KEYRING.

    It is a secret. Every worker and command of one ledger needs the same keyring; without it, nothing that it encrypted
    can be read again: keep it in a file, and read it from there. A ledger refuses every keyring but its own.
    The embedded stack makes its own, HOME/keyring.

    To rotate: keyring --add, give the result to all workers and commands (stop the workers first: one that lacks the
    new key cannot read what the others write), then `vault rotate`, which says when an old key may go.
    Version 0 is the key from which memos are derived: it encrypts nothing, and must always stay.
    """
    settings = Settings.load(home=home)
    made = _present(settings).with_new_key() if add else Keyring.generate()
    if not add:
        _say_what_it_is(settings)
    print_line(made.dump())


def _say_what_it_is(settings: Settings) -> None:
    """On stderr: a new keyring opens nothing of before, which matters when there is a ledger already."""
    with suppress(SettingsError):
        settings = settings.resolve("database_url")
        if run_async(_has_keys(settings)):
            note(
                "this is a NEW keyring: it opens nothing that your ledger has encrypted, which refuses it; use the one "
                "that its workers have, or `starter.py keyring --add` for one key more",
                "yellow",
            )
            return
    note("a new keyring: keep it in a file, as nothing that it encrypts can be read without it")


async def _has_keys(settings: Settings) -> bool:
    async with ledger_of(settings) as ledger:
        try:
            return bool(await ledger.keys.known())
        except (LedgerUnavailable, NotMigrated):
            return False


def _present(settings: Settings) -> Keyring:
    text, file = settings.keyring.get_secret_value(), settings.home / KEYRING_FILE
    if not text and file.exists():
        text = file.read_text()
    if not text:
        raise SettingsError(f"AUTOPAY_KEYRING is not set, and there is no {file}")
    try:
        return Keyring.parse(text)
    except ValueError as error:
        raise SettingsError(f"AUTOPAY_KEYRING is not valid: {error}") from None
