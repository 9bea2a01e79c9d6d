"""Executes statements of the hot path by the driver itself, in the transaction of a session.

SQLAlchemy builds such a statement once, and takes no part when it runs: two thirds of the worker's CPU for a statement
are its own. Statements are written as for SQLAlchemy, with its types; only ORM objects are neither read nor refreshed:
rows are tuples whose attributes are the columns that were selected, and nothing else.
"""

import asyncio
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

import psycopg
from sqlalchemy import Dialect, Insert, Select, Update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.compiler import SQLCompiler

from autopay.adapters.postgres.database.timing import statement_name
from autopay.metrics.recording import timed
from autopay.metrics.table import SQL_SECONDS

Statement = Select[*tuple[Any, ...]] | Insert | Update
Columns = tuple[InstrumentedAttribute[Any], ...]
Converter = Callable[[Any], Any]


async def one_row(db: AsyncSession, statement: Select[*tuple[Any, ...]], parameters: Mapping[str, Any]) -> Any:
    """The only row of a select of columns, as a tuple with their names; None when there is none."""
    compiled = _compiled(statement, _dialect(db))
    cursor = await _execute(db, compiled, parameters)
    found = await cursor.fetchall()
    assert len(found) <= 1
    return compiled.row(cursor, found[0]) if found else None


def split(row: Sequence[Any], *parts: Columns) -> list[Any]:
    """A row of `select(*one, *another)` as a tuple for each of the parts, with the names of its columns."""
    made, begin = [], 0
    for columns in parts:
        end = begin + len(columns)
        made.append(_row_of(tuple(column.key for column in columns))(*row[begin:end]))
        begin = end
    assert begin == len(row)
    return made


async def change(db: AsyncSession, statement: Insert | Update, parameters: Mapping[str, Any]) -> None:
    """Execute a statement that writes.

    Raises:
        IntegrityError: a constraint is violated.
    """
    db.info["wrote"] = True
    await _execute(db, _compiled(statement, _dialect(db)), parameters)


class _Compiled:
    """A statement for the driver, with what turns parameters and values into the driver's and back."""

    def __init__(self, statement: Statement, dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect)
        assert isinstance(compiled, SQLCompiler)
        assert not compiled.insert_prefetch, "a default that Python computes has no place here"
        assert not compiled.update_prefetch
        assert not compiled.post_compile_params, "a list is given as an array"
        self.sql = str(compiled)
        self._compiled = compiled
        self._dialect = dialect
        self._binds: dict[str, Converter | None] = {
            name: bind.type.dialect_impl(dialect).bind_processor(dialect) for bind, name in compiled.bind_names.items()
        }
        self._columns = statement.selected_columns if isinstance(statement, Select) else ()
        self._row = _row_of(tuple(column.key or "" for column in self._columns))
        self._results: list[Converter | None] = []

    def parameters(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """For the driver. Raises InvalidRequestError when one is missing."""
        values = self._compiled.construct_params(dict(given))
        return {name: value if (to := self._binds[name]) is None else to(value) for name, value in values.items()}

    def row(self, cursor: psycopg.AsyncCursor[Any], values: Sequence[Any]) -> Any:
        """A row of the driver's, as the types of its columns want it."""
        if not self._results:
            assert cursor.description is not None
            self._results = [
                column.type.dialect_impl(self._dialect).result_processor(self._dialect, found.type_code)
                for column, found in zip(self._columns, cursor.description, strict=True)
            ]
        pairs = zip(self._results, values, strict=True)
        return self._row(*(value if to is None else to(value) for to, value in pairs))


@lru_cache(maxsize=256)
def _compiled(statement: Statement, dialect: Dialect) -> _Compiled:
    """Made once for each statement object: they must be constants, or cached as those of `writes.py` are."""
    return _Compiled(statement, dialect)


@lru_cache(maxsize=256)
def _row_of(names: tuple[str, ...]) -> Any:
    """A type of rows. Where two columns have one name, the row has them by position only."""
    return namedtuple("Columns", names, rename=True)


async def _execute(db: AsyncSession, compiled: _Compiled, parameters: Mapping[str, Any]) -> psycopg.AsyncCursor[Any]:
    """Raises SQLAlchemy's errors, and drops the connection where SQLAlchemy would."""
    if db.new or db.dirty or db.deleted:
        await db.flush()
    connection = await db.connection()
    driver = cast("psycopg.AsyncConnection[Any]", (await connection.get_raw_connection()).driver_connection)
    try:
        with timed(SQL_SECONDS, statement=statement_name(compiled.sql)):
            return await driver.execute(compiled.sql, compiled.parameters(parameters))
    except psycopg.Error as error:
        lost = driver.broken or driver.closed
        if lost:
            await connection.invalidate(error)
        raise DBAPIError.instance(
            compiled.sql,
            None,
            error,
            psycopg.Error,
            hide_parameters=True,
            connection_invalidated=lost,
            dialect=connection.dialect,
        ) from error
    except asyncio.CancelledError:  # nobody knows what the server still does on this connection
        await asyncio.shield(connection.invalidate())
        raise


def _dialect(db: AsyncSession) -> Dialect:
    return db.get_bind().dialect
