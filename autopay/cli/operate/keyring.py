"""`keyring`: makes the keys that encrypt secrets, adds one, and has the ledger forget one that is lost."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated

import typer

from autopay.adapters.vault import ROOT, Keyring
from autopay.cli.connect.connections import ledger_of
from autopay.cli.connect.event_loop import run_async
from autopay.cli.terminal.console import note, print_line
from autopay.cli.terminal.exit_codes import CommandError, examples_help
from autopay.cli.terminal.options import HomeOption
from autopay.domain.errors import LedgerUnavailable, NotMigrated, SettingsError
from autopay.domain.text.command_line import command_line
from autopay.settings import Settings, keyring_of_home
from autopay.settings.stack_file import KEYRING_FILE

LOST = (
    "nothing in this ledger needs key {version}. Lost without it: what Temporal keeps encrypted with it (workflows "
    "that ran with it fail their tasks until it is back), and backups of this ledger from when it was needed"
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    shown = examples_help("keyring > keyring.txt", "keyring --add > rotated.txt", "keyring --forget 2")
    app.command("keyring", epilog=shown)(keyring)


def keyring(
    add: Annotated[
        bool, typer.Option("--add", help="Print the present keyring with one more key, which encrypts from now on.")
    ] = False,
    forget: Annotated[
        int | None,
        typer.Option(metavar="VERSION", min=0, help="Have the ledger forget a key of that version that is lost."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before a key is forgotten.")] = False,
    home: HomeOption = None,
) -> None:
    """Print a new keyring, which opens the ledger's secrets.

    It is a secret. Every worker and command of one ledger needs the same keyring; without it, nothing that it encrypted
    can be read again: keep it in a file, readable by its owner only. A ledger refuses every keyring but its own.
    The embedded stack makes its own, HOME/keyring.

    To rotate: keyring --add into another file, give it to all workers and commands (stop the workers first: one that
    lacks the new key cannot read what the others write), then `vault rotate`, which says when an old key may go.
    Version 0 is the key from which memos are derived: it encrypts nothing, and must always stay.

    A key that was used once is known to the ledger, which refuses keyrings that lack it. If it is lost before anything
    was encrypted with it, --forget has the ledger forget it; not while the ledger holds anything that needs it.
    """
    settings = Settings.load(home=home)
    if forget is not None:
        if add:
            raise CommandError("--add makes a key and --forget forgets one: give one of them")
        run_async(_forget(settings.resolve("database_url"), forget, ask=not yes))
        return
    made = _present(settings).with_new_key() if add else Keyring.generate()
    if not add:
        _say_what_it_is(settings)
    print_line(made.dump())


async def _forget(settings: Settings, version: int, *, ask: bool) -> None:
    """Delete the check value of a lost key, once a person has seen what cannot be read any more then."""
    async with ledger_of(settings) as ledger:
        known = await ledger.keys.known()
        if version not in known:
            versions = ", ".join(map(str, sorted(known))) or "none"
            raise CommandError(f"this ledger knows no key of version {version}; it knows {versions}")
        _refuse_if_needed(version, await ledger.keys.uses_of(version))
        note(LOST.format(version=version), "yellow")
        if ask:
            typer.confirm(f"Forget key {version}?", abort=True, err=True)
        _refuse_if_needed(version, await ledger.keys.forget(version))
    note(f"the ledger has forgotten key {version}: keyrings without it, or with another one, are taken again", "green")


def _refuse_if_needed(version: int, uses: Mapping[str, int]) -> None:
    needed = ", ".join(f"{count} {what}" for what, count in uses.items() if count)
    if not needed:
        return
    if version == ROOT:
        raise CommandError(f"the root is needed for ever: the memos of {needed} are derived from it")
    rotate = command_line("vault", "rotate")
    raise CommandError(
        f"key {version} is needed: this ledger holds {needed} encrypted with it, lost without it; find the keyring "
        f"that has it, and encrypt them with a newer key: {rotate}"
    )


def _say_what_it_is(settings: Settings) -> None:
    """On stderr: a new keyring opens nothing of before, which matters when there is a ledger already."""
    with suppress(SettingsError):
        settings = settings.resolve("database_url")
        if run_async(_has_keys(settings)):
            note(
                "this is a NEW keyring: it opens nothing that your ledger has encrypted, which refuses it; use the one "
                f"that its workers have, or `{command_line('keyring', '--add')}` for one key more",
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
    text = settings.keyring.get_secret_value() or keyring_of_home(settings.home)
    if not text:
        missing = f"there is no {settings.home / KEYRING_FILE}"
        raise SettingsError(
            f"AUTOPAY_KEYRING is not set, nor AUTOPAY_KEYRING_FILE or AUTOPAY_KEYRING_COMMAND, and {missing}"
        )
    try:
        return Keyring.parse(text)
    except ValueError as error:
        raise SettingsError(f"AUTOPAY_KEYRING is not valid: {error}") from None
