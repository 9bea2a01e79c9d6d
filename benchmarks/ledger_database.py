"""The database of the ledger's benchmarks: an embedded PostgreSQL of their own, migrated, and filled once."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, create_engine, text

from autopay.adapters.postgres.database.connection import engine_url
from autopay.adapters.postgres.maintenance import migrations
from benchmarks.ledger_rows import Shape, load
from benchmarks.machine import tell
from localnet.postgres.server import EmbeddedPostgres


@contextmanager
def database_server(home: Path | None) -> Iterator[EmbeddedPostgres]:
    """A server in that folder, which is kept; without one, in a folder that is deleted at the end."""
    directory = home or Path(tempfile.mkdtemp(prefix="autopay-bench-"))
    server = EmbeddedPostgres(directory / "postgres", database="bench")
    server.start()
    try:
        yield server
    finally:
        server.stop()
        if home is None:
            shutil.rmtree(directory)


@contextmanager
def filled(url: str, rows: int, shape: Shape) -> Iterator[Connection]:
    """A connection in autocommit mode to the migrated database, with `rows` payments unless it has some already."""
    migrations.upgrade(url)
    engine = create_engine(engine_url(url), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        if not connection.scalar(text("SELECT EXISTS (SELECT FROM transactions)")):
            began = time.monotonic()
            load(connection, rows, lambda part: tell(f"{time.monotonic() - began:6.1f} s  {part}"), shape)
        yield connection
    engine.dispose()
