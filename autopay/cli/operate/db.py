"""The group `db`, and `seed`: the ledger's schema and sample rows; `db roles` is in db_roles.py."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from autopay.cli.connect.connections import ledger_of
from autopay.cli.connect.event_loop import run_async
from autopay.cli.operate import db_roles as roles
from autopay.cli.terminal.command_group import command_group
from autopay.cli.terminal.console import note, print_json, print_line
from autopay.cli.terminal.exit_codes import CommandError, examples_help
from autopay.cli.terminal.options import HomeOption, JsonOption
from autopay.domain.text.command_line import command_line
from autopay.settings import Settings

LOST = (
    "You lose idempotency keys, so that requests that were paid could be paid again under the same id, and what is "
    "needed to recover open payments. Make a backup first"
)

db = command_group("Migrate the ledger's database, and make its roles.")


def register(app: typer.Typer) -> None:
    """Add the group and the command."""
    roles.register(db)
    app.add_typer(db, name="db")
    app.command("seed", epilog=examples_help("seed"))(seed)


@db.command(epilog=examples_help("db upgrade", "db upgrade 0003_multi_api_priority"))
def upgrade(
    revision: Annotated[str, typer.Argument(help="The revision to migrate to.")] = "head", home: HomeOption = None
) -> None:
    """Migrate the database to the newest revision."""
    url = Settings.load(home=home).resolve("database_url").database_url

    from autopay.adapters.postgres.maintenance import migrations
    from autopay.adapters.postgres.maintenance.roles import apply_rights
    from autopay.adapters.postgres.maintenance.server import Server

    server = Server(url)
    with server.connected():
        pass  # behind a pooler the rights could not be given: it is refused before anything is changed
    with _revision_errors():
        migrations.upgrade(url, revision)
    apply_rights(server)  # of what is new, where there are roles
    note(f"the database is at {migrations.current(url)}", "green")


@db.command(epilog=examples_help("db downgrade 0003_multi_api_priority", "db downgrade base --yes"))
def downgrade(
    revision: Annotated[str, typer.Argument(help="The revision to go back to; base drops every table.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    home: HomeOption = None,
) -> None:
    """Migrate the database back; data of newer revisions is lost.

    Idempotency keys are part of it: a request that was paid before could be paid again under the same id.
    """
    url = Settings.load(home=home).resolve("database_url").database_url

    from autopay.adapters.postgres.maintenance import migrations

    now = migrations.current(url)
    if not yes:
        note(f"{LOST}: {command_line('backup')}", "yellow")
        typer.confirm(f"Drop what was recorded between {revision} and {now}?", abort=True, err=True)
    with _revision_errors():
        migrations.downgrade(url, revision)
    note(f"the database is at {migrations.current(url) or 'base: it has no tables'}", "green")


@db.command(epilog=examples_help("db current", "db current --json"))
def current(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show the revision of the database, and the newest one."""
    url = Settings.load(home=home).resolve("database_url").database_url

    from autopay.adapters.postgres.maintenance import migrations

    now, newest = migrations.current(url), migrations.head()
    if as_json:
        print_json({"current": now, "head": newest})
    else:
        behind = "" if now == newest else f" (newest is {newest}: {command_line('db', 'upgrade')})"
        print_line(f"{now or 'never migrated'}{behind}")


@contextmanager
def _revision_errors() -> Iterator[None]:
    from alembic.util.exc import CommandError as AlembicError

    from autopay.adapters.postgres.maintenance import migrations

    try:
        yield
    except AlembicError as error:
        raise CommandError(f"{error}; the newest revision is {migrations.head()}") from None


def seed(home: HomeOption = None) -> None:
    """Put sample rows into the ledger."""
    settings = Settings.load(home=home).resolve("database_url")
    run_async(_seed(settings))
    note(f"seeded; see: {command_line('agents')}", "green")


async def _seed(settings: Settings) -> None:
    async with ledger_of(settings) as ledger:
        await ledger.maintenance.seed()
