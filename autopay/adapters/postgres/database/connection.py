"""Connections to PostgreSQL: URLs, time-outs, and which database errors are which fault. Knows no table."""

import asyncio
import re
from typing import Any

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, ProgrammingError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from autopay.adapters.postgres.database.timing import time_statements
from autopay.database_url import parse_database_url
from autopay.domain.errors import (
    DatabaseUrlWrong,
    Fault,
    IllegalTransition,
    LedgerForbids,
    LedgerUnavailable,
    NotMigrated,
)

POOL_SIZE = 10
CONNECT_TIMEOUT_S = 5
STATEMENT_TIMEOUT_S = 15
LOCK_TIMEOUT_S = 10
IDLE_IN_TRANSACTION_TIMEOUT_S = 30
"""A worker that froze must not keep a session row locked for the others."""

TCP_USER_TIMEOUT_MS = 20_000
"""A database host that vanished without closing its connections is noticed after this."""

DEFAULT_PORT = 5432
ISOLATION_LEVEL = "READ COMMITTED"
"""The limits are summed after their locks are taken, which sees what others committed meanwhile only at this level."""

SNAPSHOT = {"begin": "REPEATABLE READ"}
"""Options of a connection whose transaction's statements all see one moment."""

NO_TRANSACTION = {"begin": None}
"""Options of a connection whose statements are each a transaction of their own."""

_OPTION = re.compile(r"(?:-c|--)\s*([a-z_]+)\s*=")
_REFUSED = "AP001"  # by the ledger's own triggers (alembic/sql/0006_guards.sql)
_FORBIDDEN = "42501"  # insufficient privilege
_MISSING = frozenset({"42P01", "42703", "42704", "3F000"})  # undefined table, column, type; invalid schema
_UNAVAILABLE = frozenset({"25006", "57P01", "57P02", "57P03"})  # read-only after a failover, shutting down, starting


def engine_url(database_url: str) -> URL:
    """The URL for SQLAlchemy with psycopg 3, of any URL that `parse_database_url` reads; without Prisma's schema.

    Raises:
        ValueError: not a PostgreSQL URL.
    """
    parts = parse_database_url(database_url)
    query = dict(parts.parameters)
    host, port = parts.hosts[0] if len(parts.hosts) == 1 else (None, None)
    if len(parts.hosts) > 1 or (host is not None and host.startswith("/")):
        query["host"] = ",".join(name for name, _ in parts.hosts)
        query["port"] = ",".join(str(each or DEFAULT_PORT) for _, each in parts.hosts)
        host, port = None, None
    return URL.create("postgresql+psycopg", parts.user, parts.password, host or None, port, parts.database, query)


def search_path(database_url: str) -> str | None:
    """Prisma's `?schema=Name` as a search path; None when the URL has none of its own."""
    schema = parse_database_url(database_url).schema
    return None if schema in (None, "public") else '"' + str(schema).replace('"', '""') + '"'


def connect_arguments(url: URL) -> dict[str, Any]:
    """How psycopg connects, as far as the URL does not say. Nothing here needs a server process of our own.

    Nothing is prepared by name: behind a connection pooler the next transaction has another server process, which does
    not know the name, or knows it for another statement.
    """
    defaults: dict[str, Any] = {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "tcp_user_timeout": TCP_USER_TIMEOUT_MS,
        "application_name": "autopay",
        "client_encoding": "utf8",  # else a database in SQL_ASCII gives out bytes for texts
    }
    return {"prepare_threshold": None} | {name: value for name, value in defaults.items() if name not in url.query}


def transaction_settings(database_url: str, statement_timeout_s: int) -> str:
    """Statements that a transaction begins with; a setting that the URL's own `options` make is left alone.

    Not at the start of the connection: a connection pooler ignores such settings, or refuses them. Commits wait for the
    disk whatever the server's default is: what was signed must be recorded before it leaves.
    """
    settings = {
        "timezone": "'UTC'",
        "synchronous_commit": "on",
        "statement_timeout": f"'{statement_timeout_s}s'",
        "lock_timeout": f"'{LOCK_TIMEOUT_S}s'",
        "idle_in_transaction_session_timeout": f"'{IDLE_IN_TRANSACTION_TIMEOUT_S}s'",
    }
    path = search_path(database_url)
    if path is not None:
        settings["search_path"] = path
    chosen = set(_OPTION.findall(_text(engine_url(database_url), "options")))
    return "; ".join(f"SET LOCAL {name} = {value}" for name, value in settings.items() if name not in chosen)


def open_engine(database_url: str, *, reads_only: bool = False) -> AsyncEngine:
    """A pool of connections; connects when first used. With `reads_only` no transaction can write.

    A pooled connection that died is noticed when a transaction begins on it (`Database.transaction`), and all that are
    as old are replaced: to ask each connection before would be one more round trip for each transaction.

    The driver begins no transaction by itself: `BEGIN` and its settings go to the server together, as one statement.
    """
    url = engine_url(database_url)
    engine = create_async_engine(
        url,
        pool_size=POOL_SIZE,
        max_overflow=POOL_SIZE,
        pool_timeout=LOCK_TIMEOUT_S,
        connect_args=connect_arguments(url),
        isolation_level="AUTOCOMMIT",
        hide_parameters=True,  # parameters hold sealed secrets and bought content: never in a traceback
    )
    settings = transaction_settings(database_url, STATEMENT_TIMEOUT_S)
    access = " READ ONLY" if reads_only else ""

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        level = connection.get_execution_options().get("begin", ISOLATION_LEVEL)
        if level is not None:
            connection.exec_driver_sql(f"BEGIN ISOLATION LEVEL {level}{access}; {settings}")

    time_statements(engine.sync_engine)
    return engine


def open_plain_engine(database_url: str, statement_timeout_s: int = STATEMENT_TIMEOUT_S) -> Engine:
    """Connections without a pool and without an event loop, for migrations; a time-out of 0 means none."""
    url = engine_url(database_url)
    engine = create_engine(
        url, poolclass=NullPool, connect_args=connect_arguments(url), isolation_level=ISOLATION_LEVEL
    )
    settings = transaction_settings(database_url, statement_timeout_s)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(settings)

    return engine


def fault_of(error: BaseException) -> Fault | None:
    """The fault that a database error is; None for a bug, which must propagate as what it is."""
    match error:
        case PoolTimeout() | asyncio.TimeoutError() | OSError():
            return LedgerUnavailable(str(error))
        case DBAPIError(orig=original):
            state = getattr(original, "sqlstate", None)
            if state in _MISSING:
                return NotMigrated(_first_line(original))
            if state == _FORBIDDEN:
                return LedgerForbids(_first_line(original))
            if state == _REFUSED:
                return IllegalTransition(_first_line(original))
            if isinstance(error, ProgrammingError) and state is None:  # before there was a connection
                return DatabaseUrlWrong(_first_line(original))
            if isinstance(error, OperationalError | InterfaceError) or state in _UNAVAILABLE:
                return LedgerUnavailable(_first_line(original))
            return LedgerUnavailable(_first_line(original)) if error.connection_invalidated else None
        case SQLAlchemyError():
            return None
        case _:
            return None


def _text(url: URL, name: str) -> str:
    value = url.query.get(name, "")
    return value if isinstance(value, str) else " ".join(value)


def _first_line(error: BaseException | None) -> str:
    return str(error).strip().split("\n")[0]
