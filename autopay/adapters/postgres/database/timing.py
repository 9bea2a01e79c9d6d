"""How long statements take, for `autopay_sql_seconds`: by their verb and their first table, of which there are few."""

import re
from functools import lru_cache
from time import perf_counter
from typing import Any

from sqlalchemy import Connection, Engine, event

from autopay.metrics.recording import is_on, observe
from autopay.metrics.table import SQL_SECONDS

COMMIT = "COMMIT"

OTHER = "other"

_VERB = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|BEGIN|SET|WITH|NOTIFY|LISTEN)\b")
_WRITTEN = re.compile(r"\b(INSERT INTO|UPDATE|DELETE FROM) ([a-z_]+)")
_READ = re.compile(r"\bFROM ([a-z_]+)(?![a-z_(])")

_BEGAN = "autopay_began"


@lru_cache(maxsize=1024)
def statement_name(sql: str) -> str:
    """`SELECT transactions`, `INSERT audit_anchors`, `BEGIN`; `other` for what is none of these.

    Names come from the program's own statements alone, never from a value: values are parameters.
    """
    found = _VERB.match(sql)
    if found is None:
        return OTHER
    verb = found[1]
    if verb in ("BEGIN", "SET", "NOTIFY", "LISTEN"):
        return verb
    if verb != "SELECT" and (written := _WRITTEN.search(sql)) is not None:
        return f"{written[1].split()[0]} {written[2]}"
    read = _READ.search(sql)
    return verb if read is None else f"{verb} {read[1]}"


def time_statements(engine: Engine) -> None:
    """Record how long each statement of SQLAlchemy's takes on this engine."""

    @event.listens_for(engine, "before_cursor_execute")
    def before(connection: Connection, *_: Any) -> None:
        if is_on():
            connection.info[_BEGAN] = perf_counter()

    @event.listens_for(engine, "after_cursor_execute")
    def after(connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        began = connection.info.pop(_BEGAN, None)
        if began is not None:
            observe(SQL_SECONDS, perf_counter() - began, statement=statement_name(statement))
