"""A real PostgreSQL for every test that asks for one: started once, migrated once."""

import faulthandler
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from _pytest.faulthandler import fault_handler_stderr_fd_key

from autopay.adapters.postgres import PostgresLedger, open_ledger
from autopay.adapters.postgres.maintenance import migrations
from autopay.domain.text.command_line import CALL, Call
from autopay.garbage import leave_out_of_collections_what_is_loaded
from localnet.postgres.server import EmbeddedPostgres
from tests.databases import Databases, create_database, drop_database
from tests.distribution import Distribution, rank
from tests.processes.client import Client, take_over

TEMPLATE = "migrated"

ENDS_WITHIN_S = 120
"""How long the fixtures of a failed test may take to end; a whole stack takes ten seconds."""

FORK_SERVER = Client()


def pytest_configure() -> None:
    """Processes of ours come from a fork server, and a Ctrl-C reaches them: a shell's background jobs ignore it.

    With REAL_PROCESSES set, every process is started really, which takes half as long again.

    Typer sets this variable while it reads a command line and deletes it then, unless it was set before: two commands
    in two threads of one test would delete it twice.
    """
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not os.environ.get("REAL_PROCESSES"):
        take_over(FORK_SERVER)


@pytest.hookimpl(trylast=True)
def pytest_exception_interact(node: pytest.Item) -> None:
    """A test that has failed ends soon: its worker ends when the fixtures take longer than this.

    Its own limit is used up then, and pytest's last one (`faulthandler_timeout`) is lifted at the first failure.
    """
    file = node.config.stash[fault_handler_stderr_fd_key]
    faulthandler.dump_traceback_later(ENDS_WITHIN_S, file=file, exit=True)


def pytest_unconfigure() -> None:
    """End the fork server."""
    FORK_SERVER.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files, so that the longest begin first."""
    items.sort(key=lambda item: rank(item.nodeid))


def pytest_collection_finish() -> None:
    """No garbage collection looks through what is loaded: it is most of what a test process has, and all the tests'."""
    leave_out_of_collections_what_is_loaded()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Distribution | None:
    """Distribute `--dist loadfile` our way."""
    return Distribution(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture(autouse=True)
def call() -> Iterator[None]:
    """Messages name commands as `autopay`, whatever the test before has called."""
    before = CALL.set(Call())
    yield
    CALL.reset(before)


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable of Autopay's or Temporal's is set, and the current folder, where `.env` would be, is empty."""
    for name in list(os.environ):
        if name.startswith(("AUTOPAY_", "TEMPORAL_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """The server of this test run."""
    # Not below pytest's own directory: the next run closes that to other accounts, and as root the server has one.
    with tempfile.TemporaryDirectory(prefix="autopay-test-") as directory:
        server = EmbeddedPostgres(Path(directory) / "data", database=TEMPLATE)
        server.start()
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")  # its databases live for a test each
            connection.execute("ALTER SYSTEM SET full_page_writes = off")
            connection.execute("SELECT pg_reload_conf()")
        yield server
        server.stop()


@pytest.fixture(scope="session")
def postgres_url(postgres: EmbeddedPostgres) -> str:
    """The server's maintenance database: where databases are made and dropped."""
    return postgres.url("postgres")


@pytest.fixture(scope="session")
def template(postgres: EmbeddedPostgres) -> str:
    """The name of a database at the newest revision, to be cloned."""
    migrations.upgrade(postgres.url(TEMPLATE))
    return TEMPLATE


@pytest.fixture(scope="session")
def databases(postgres: EmbeddedPostgres, template: str) -> Databases:
    """Databases at the newest revision."""
    return Databases(postgres, template)


@pytest.fixture
def empty_database_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A database of this test's own, without a table."""
    name = f"test_empty_{next(_NUMBERS)}"
    create_database(postgres, name, "template1")
    yield postgres.url(name)
    drop_database(postgres, name)


@pytest.fixture
def database_url(postgres: EmbeddedPostgres, databases: Databases) -> Iterator[str]:
    """A database of this test's own, at the newest revision and without rows."""
    name = databases.take()
    yield postgres.url(name)
    databases.give_back(name)


@pytest.fixture
async def ledger(database_url: str) -> AsyncIterator[PostgresLedger]:
    """The ledger on a database of this test's own."""
    opened = open_ledger(database_url)
    yield opened
    await opened.dispose()


_NUMBERS = iter(range(1, 1_000_000))
