"""Connections to PostgreSQL: URLs, time-outs, and which database errors are which fault. Knows no table."""

import asyncio
from typing import Any

from sqlalchemy import URL, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from autopay.domain.errors import Fault, IllegalTransition, LedgerUnavailable, NotMigrated

POOL_SIZE = 10
CONNECT_TIMEOUT_S = 5
STATEMENT_TIMEOUT_S = 15
LOCK_TIMEOUT_S = 10
IDLE_IN_TRANSACTION_TIMEOUT_S = 30
"""A worker that froze must not keep a session row locked for the others."""

TCP_USER_TIMEOUT_MS = 20_000
"""A database host that vanished without closing its connections is noticed after this."""

_REFUSED = "AP001"  # by the ledger's own triggers (alembic/sql/0006_guards.sql)
_MISSING = frozenset({"42P01", "42703", "42704", "3F000"})  # undefined table, column, type; invalid schema
_UNAVAILABLE = frozenset({"25006", "57P01", "57P02", "57P03"})  # read-only after a failover, shutting down, starting


def engine_url(database_url: str) -> URL:
    """The URL for SQLAlchemy with psycopg 3, of any `postgres://`, `postgresql://` or `postgresql+driver://` URL.

    Prisma's `?schema=name` becomes the search path.

    Raises:
        ValueError: not a PostgreSQL URL.
    """
    url = make_url(database_url)
    if url.drivername.split("+")[0] not in ("postgres", "postgresql"):
        raise ValueError(f"{url.drivername}:// is not a PostgreSQL URL")
    schema = url.query.get("schema")
    url = url.set(drivername="postgresql+psycopg").difference_update_query(["schema"])
    if isinstance(schema, str) and schema != "public":
        url = url.update_query_dict({"options": f"{_text(url, 'options')} -c search_path={schema}".strip()})
    return url


def connect_arguments(url: URL, *, statement_timeout_s: int = STATEMENT_TIMEOUT_S) -> dict[str, Any]:
    """Time-outs for psycopg, as far as the URL does not set them itself; 0 means none.

    Commits wait for the disk whatever the server's default is: what was signed must be recorded before it leaves. The
    limits are summed after their locks are taken, which sees what others committed meanwhile only at READ COMMITTED.
    """
    parameters = {
        "timezone": "UTC",
        "synchronous_commit": "on",
        "default_transaction_isolation": "read\\ committed",
        "statement_timeout": f"{statement_timeout_s}s",
        "lock_timeout": f"{LOCK_TIMEOUT_S}s",
        "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_TIMEOUT_S}s",
    }
    ours = " ".join(f"-c {name}={value}" for name, value in parameters.items())
    defaults: dict[str, Any] = {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "tcp_user_timeout": TCP_USER_TIMEOUT_MS,
        "application_name": "autopay",
    }
    return {"options": f"{ours} {_text(url, 'options')}"} | {
        name: value for name, value in defaults.items() if name not in url.query
    }


def open_engine(database_url: str) -> AsyncEngine:
    """A pool of connections; connects when first used, and checks a pooled connection before it is handed out."""
    url = engine_url(database_url)
    return create_async_engine(
        url,
        pool_size=POOL_SIZE,
        max_overflow=POOL_SIZE,
        pool_timeout=LOCK_TIMEOUT_S,
        pool_pre_ping=True,
        connect_args=connect_arguments(url),
        hide_parameters=True,  # parameters hold sealed secrets and bought content: never in a traceback
    )


def fault_of(error: BaseException) -> Fault | None:
    """The fault that a database error is; None for a bug, which must propagate as what it is."""
    match error:
        case PoolTimeout() | asyncio.TimeoutError() | OSError():
            return LedgerUnavailable(str(error))
        case DBAPIError(orig=original):
            state = getattr(original, "sqlstate", None)
            if state in _MISSING:
                return NotMigrated(_first_line(original))
            if state == _REFUSED:
                return IllegalTransition(_first_line(original))
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
