"""`backup` and `restore`: the ledger in a file, and back."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autopay.cli.operate.db_roles import AdminOption
from autopay.cli.terminal.console import note, print_json, print_line
from autopay.cli.terminal.exit_codes import CommandError, ExitCode, examples_help
from autopay.cli.terminal.options import HomeOption, JsonOption
from autopay.domain.text.command_line import command_line
from autopay.settings import Settings

if TYPE_CHECKING:
    from autopay.adapters.postgres.maintenance.backup import Backup
    from autopay.adapters.postgres.maintenance.restore import Restored

DIRECTORY = "backups"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("backup", epilog=examples_help("backup", "backup --to /backups/", "backup --to ledger.dump --json"))(
        backup
    )
    shown = examples_help(
        "restore .autopay/backups/autopay-20260101T000000Z.dump", "restore --database autopay_copy --yes"
    )
    app.command("restore", epilog=shown)(restore)


def backup(
    to: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|DIR", help="The file, or a directory that ends with a slash.", show_default="HOME/backups/"
        ),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the ledger into a file while workers go on.

    The file holds the whole ledger as of one moment, with encrypted secrets: whoever has it and the keyring has the
    sessions' keys. Only you can read it, and it gets its name when it is complete.
    """
    settings = Settings.load(home=home).resolve("database_url")

    from autopay.adapters.postgres.maintenance.backup import back_up
    from autopay.adapters.postgres.maintenance.server import Server

    server = Server(settings.database_url)
    try:
        file = _target(to, settings.home / DIRECTORY, server.name)
        found = back_up(server, file)
    except OSError as error:
        named = str(error.filename or to or settings.home)[:200]
        raise CommandError(f"--to {named}: {error.strerror}", ExitCode.FAULT) from None
    if as_json:
        print_json(found)
    else:
        _show_backup(found)


def restore(
    file: Annotated[Path | None, typer.Argument(help="The backup.", exists=True, dir_okay=False)] = None,
    database: Annotated[
        str | None, typer.Option(help="Instead of a file, a database of the same server that holds the backup already.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    admin_url: AdminOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Restore the ledger from a backup, with a fence.

    The fence lets nothing be signed until `ledger reconcile --book`. The backup is read into a new database first.
    Then that takes the ledger's name, and the present database, if there is one, is kept under another name. Workers
    may go on. You can run it again when it was interrupted.
    """
    if (file is None) == (database is None):
        raise CommandError("give a backup FILE, or --database", ExitCode.USAGE)
    settings = Settings.load(home=home).resolve("database_url")

    from autopay.adapters.postgres.maintenance.backup import time_of
    from autopay.adapters.postgres.maintenance.restore import restore_database, restore_file
    from autopay.adapters.postgres.maintenance.server import Server

    server = Server(settings.database_url, admin_url)
    what = f"the backup of {time_of(file):%F %T} UTC" if file is not None else f"the database {database}"
    if not yes and server.name in server.databases():
        typer.confirm(f"Make {what} the ledger {server.name}? The present one is kept.", abort=True, err=True)
    if file is not None:
        done = restore_file(server, file, note)
    else:
        assert database is not None
        done = restore_database(server, database, note)
    if as_json:
        print_json(done)
    else:
        _show_restored(done)


def _target(to: str | None, directory: Path, database: str) -> Path:
    if to is not None:
        try:
            given = Path(to).expanduser()
            if not to.endswith(os.sep) and not given.is_dir():
                if given.exists():
                    raise CommandError(f"{given} exists already: give another name")
                return given
        except OSError as error:
            raise CommandError(f"{to}: {error.strerror}") from None
        directory = given
    return directory / f"{database}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.dump"


def _show_backup(found: Backup) -> None:
    note(
        f"the ledger of {found.taken_at:%F %T} UTC: {found.size_bytes} bytes, {found.events} events in "
        f"{found.chains} chains",
        "green",
    )
    print_line(str(found.file))


def _show_restored(done: Restored) -> None:
    note(f"{done.fence}: {done.events} events", "green")
    if done.kept_as is not None:
        note(f"the ledger before the restore is kept as database {done.kept_as}")
    for name in done.leftovers:
        note(f"an interrupted restore left the database {name}: drop it", "yellow")
    book = command_line("ledger", "reconcile", "--book")
    note(f"nothing is signed until you book what was paid after the backup: {book}")
    note("workers may run meanwhile; requests that need a payment are held")
    print_line(done.database)
