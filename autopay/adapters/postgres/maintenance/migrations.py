"""Alembic's commands for programs: from any working directory, and silent on stdout."""

import io
from collections.abc import Callable

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import DBAPIError

from autopay.adapters.postgres.database.connection import fault_of, open_plain_engine
from autopay.top_level import MIGRATIONS


def upgrade(database_url: str, revision: str = "head") -> None:
    """Bring the database's schema to `revision`; all of it or nothing. Already there is fine.

    Raises:
        LedgerUnavailable: the database does not answer.
    """
    _run(command.upgrade, database_url, revision)


def downgrade(database_url: str, revision: str) -> None:
    """Take the schema back to `revision` ("base" drops everything). What a revision recorded is lost with it."""
    _run(command.downgrade, database_url, revision)


def current(database_url: str) -> str | None:
    """The revision that the database is at; None when it was never migrated."""
    engine = open_plain_engine(database_url)
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    except DBAPIError as error:
        raise fault_of(error) or error from error
    finally:
        engine.dispose()


def head() -> str:
    """The newest revision that this version of the program brings."""
    newest = ScriptDirectory(str(MIGRATIONS)).get_current_head()
    assert newest is not None
    return newest


def is_known(revision: str) -> bool:
    """Whether this version of the program brings that revision; else a newer one has migrated the database."""
    return revision in {each.revision for each in ScriptDirectory(str(MIGRATIONS)).walk_revisions()}


def _run(action: Callable[[Config, str], None], database_url: str, revision: str) -> None:
    config = Config(stdout=io.StringIO())
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["database_url"] = database_url
    try:
        action(config, revision)
    except DBAPIError as error:
        raise fault_of(error) or error from error
