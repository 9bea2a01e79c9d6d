"""Databases for tests, at the newest revision: for each test as if they had been made for it.

To clone the template takes ten times as long as to empty a database. So the next test gets the last one's database,
without rows. One whose schema, rights or settings a test has touched is dropped.
"""

from itertools import count
from typing import Any

import psycopg
from psycopg import sql

from localnet.postgres.server import EmbeddedPostgres

CATALOGS = (
    "pg_attrdef",
    "pg_attribute",
    "pg_class",
    "pg_constraint",
    "pg_default_acl",
    "pg_enum",
    "pg_event_trigger",
    "pg_extension",
    "pg_index",
    "pg_largeobject_metadata",
    "pg_namespace",
    "pg_policy",
    "pg_proc",
    "pg_publication",
    "pg_rewrite",
    "pg_statistic_ext",
    "pg_trigger",
    "pg_type",
)
"""Where PostgreSQL writes what DDL does; each row names the transaction that wrote it."""

_WRITTEN = " UNION ALL ".join(
    f"SELECT '{name}', count(*), max(xmin::text::bigint) FROM {name}"  # noqa: S608 - the names above
    for name in CATALOGS
)
_DATABASE = """
    SELECT oid, datacl::text, datallowconn, datconnlimit,
           (SELECT array_agg(setconfig::text ORDER BY setrole) FROM pg_db_role_setting WHERE setdatabase = oid)
    FROM pg_database WHERE datname = current_database()
"""
_TABLES = "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
_MIGRATED = "SELECT version_num FROM alembic_version"
_BEGIN_AGAIN = "SELECT setval(seqrelid, seqstart, false) FROM pg_sequence"
_END_OTHERS = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s"


class Databases:
    """Makes databases from a template, and takes them back for the next test."""

    def __init__(self, postgres: EmbeddedPostgres, template: str) -> None:
        self._postgres = postgres
        self._template = template
        self._names = count(1)
        self._free: list[str] = []
        self._fresh: dict[str, list[Any]] = {}
        """What each database was like when it was made; see `_state_of`."""

    def take(self) -> str:
        """The name of a database that nobody else has."""
        if self._free:
            return self._free.pop()
        name = f"test_{next(self._names)}"
        create_database(self._postgres, name, self._template)
        with psycopg.connect(self._postgres.url(name), autocommit=True) as connection:
            self._fresh[name] = _state_of(connection)
        return name

    def give_back(self, name: str) -> None:
        """Empty it for the next test, or drop it when the test has changed more than rows."""
        with psycopg.connect(self._postgres.url("postgres"), autocommit=True) as connection:
            connection.execute(_END_OTHERS, (name,))
        if self._emptied(name):
            self._free.append(name)
        else:
            drop_database(self._postgres, name)

    def _emptied(self, name: str) -> bool:
        try:
            with psycopg.connect(self._postgres.url(name), autocommit=True) as connection:
                if _state_of(connection) != self._fresh[name]:
                    return False
                connection.execute("SET session_replication_role = replica")  # no triggers, which would forbid it
                tables = [table for (table,) in connection.execute(_TABLES) if table != "alembic_version"]
                connection.execute("; ".join(f"DELETE FROM {table}" for table in tables))  # noqa: S608 - of our own schema
                connection.execute(_BEGIN_AGAIN)
        except psycopg.OperationalError:  # the test has renamed, dropped or closed it
            return False
        return True


def create_database(postgres: EmbeddedPostgres, name: str, template: str) -> None:
    """Clone the template."""
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        connection.execute(create.format(sql.Identifier(name), sql.Identifier(template)))


def drop_database(postgres: EmbeddedPostgres, name: str) -> None:
    """Drop it, if it is still there, whoever is connected."""
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _state_of(connection: psycopg.Connection[Any]) -> list[Any]:
    """Everything of a database but its rows: equal as long as nobody has changed schema, rights or settings."""
    return [row for query in (_WRITTEN, _DATABASE, _MIGRATED) for row in connection.execute(query)]
