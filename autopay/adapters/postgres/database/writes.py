"""Writes rows of several tables by one statement: one round trip, without the ORM's unit of work.

The first write is the statement itself, the others are its common table expressions. PostgreSQL executes each of them
whatever the others find, the first one first, and checks foreign keys and fires AFTER triggers when all are done. Two
of them must not write the same row: only one change would be made.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple, cast

from sqlalchemy import Insert, Table, Update, bindparam, func, insert, update
from sqlalchemy.ext.asyncio import AsyncSession

from autopay.adapters.postgres.database.direct import change
from autopay.adapters.postgres.tables.core import Base

CLOCK = func.clock_timestamp()
"""A value: the database's clock when the row is written."""


class Write(NamedTuple):
    """One row to insert, or rows to change; made by `new` and `changed`."""

    row: type[Base]
    values: Mapping[str, Any]
    where: Mapping[str, Any] | None


class _Shape(NamedTuple):
    """A write without its parameters: the columns that are set, each with whether to the clock; and the columns that
    say which rows are changed, each with whether it is null there."""

    row: type[Base]
    values: tuple[tuple[str, bool], ...]
    where: tuple[tuple[str, bool], ...] | None


def new(row: type[Base], values: Mapping[str, Any]) -> Write:
    """A row to be inserted, with these columns."""
    return Write(row, values, None)


def changed(row: type[Base], values: Mapping[str, Any], **where: Any) -> Write:
    """The rows that `where` names by their columns, to be given these values."""
    return Write(row, values, where)


def differing(row: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the values that differ from the row's, so that nothing is written that changes nothing."""
    return {name: value for name, value in values.items() if getattr(row, name) != value}


async def write(db: AsyncSession, *writes: Write) -> None:
    """Execute the writes as one statement; those without values are left out. Loaded ORM objects are not refreshed.

    Raises:
        IntegrityError: a constraint is violated.
    """
    parameters: dict[str, Any] = {}
    writing = [each for each in writes if each.values]
    if not writing:
        return
    for number, each in enumerate(writing):
        of_values = {_bind(number, "set", name): value for name, value in each.values.items() if value is not CLOCK}
        of_where = {_bind(number, "is", name): value for name, value in (each.where or {}).items() if value is not None}
        parameters |= of_values | of_where
    await change(db, _statement(*map(_shape, writing)), parameters)


def _shape(each: Write) -> _Shape:
    values = tuple((name, value is CLOCK) for name, value in each.values.items())
    where = None if each.where is None else tuple((name, value is None) for name, value in each.where.items())
    return _Shape(each.row, values, where)


@lru_cache(maxsize=256)
def _statement(*shapes: _Shape) -> Insert | Update:
    """Built once for writes of the same columns, so that SQLAlchemy compiles it once."""
    first, *others = (_one(number, shape) for number, shape in enumerate(shapes))
    return first.add_cte(*(each.cte(f"write_{number}") for number, each in enumerate(others, 1)))


def _one(number: int, shape: _Shape) -> Insert | Update:
    table = cast("Table", shape.row.__table__)
    values = {
        name: CLOCK if is_clock else bindparam(_bind(number, "set", name), type_=table.c[name].type)
        for name, is_clock in shape.values
    }
    if shape.where is None:
        return insert(table).values(values)
    conditions = [
        table.c[name].is_(None) if is_null else table.c[name] == bindparam(_bind(number, "is", name))
        for name, is_null in shape.where
    ]
    return update(table).where(*conditions).values(values)


def _bind(number: int, what: str, name: str) -> str:
    """A parameter's name, which must not be a column's: SQLAlchemy would set that column."""
    return f"{what}_{number}_{name}"
