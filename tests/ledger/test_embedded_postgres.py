"""The embedded server: real durability, found again after a kill, and no leftovers that stop a start."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from localnet.postgres.server import EmbeddedPostgres
from tests.localnet.stack import free_port

OWNER = """
import sys, time
from pathlib import Path
from localnet.postgres.server import EmbeddedPostgres
print(EmbeddedPostgres(Path(sys.argv[1])).start(), flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def initialized() -> Iterator[EmbeddedPostgres]:
    """A server that these tests start, kill and stop in turn."""
    with tempfile.TemporaryDirectory(prefix="autopay-test-") as directory:
        server = EmbeddedPostgres(Path(directory) / "data")
        yield server
        server.stop()


@pytest.fixture
def server(initialized: EmbeddedPostgres) -> Iterator[EmbeddedPostgres]:
    """The same server, stopped."""
    initialized.stop()
    yield initialized
    initialized.stop()


def postmaster_of(server: EmbeddedPostgres) -> int:
    return int((server.data_dir / "postmaster.pid").read_text().split("\n")[0])


def ask(url: str, query: str) -> object:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(query).fetchone()
        return row and row[0]


def test_it_syncs_to_disk_and_speaks_utf8(server: EmbeddedPostgres) -> None:
    url = server.start()
    assert ask(url, "SELECT current_setting('fsync') || current_setting('server_encoding')") == "onUTF8"
    assert ask(url, "SELECT current_database()") == "autopay"
    assert ask(url, "SELECT current_setting('listen_addresses')") == ""


def test_starting_twice_is_one_server(server: EmbeddedPostgres) -> None:
    first = server.start()
    pid = postmaster_of(server)
    assert EmbeddedPostgres(server.data_dir).start() == first
    assert postmaster_of(server) == pid


def test_stopping_twice_is_fine(server: EmbeddedPostgres) -> None:
    server.start()
    server.stop()
    server.stop()
    assert not (server.data_dir / "postmaster.pid").exists()


def test_a_server_whose_owner_was_killed_is_found_again(server: EmbeddedPostgres) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(server.data_dir)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        text=True,
    )
    with owner:
        assert owner.stdout is not None
        url = owner.stdout.readline().strip()
        pid = postmaster_of(server)
        owner.kill()
    assert server.start() == url
    assert postmaster_of(server) == pid
    assert ask(url, "SELECT 1") == 1


def test_a_killed_server_recovers_what_was_committed(server: EmbeddedPostgres) -> None:
    url = server.start()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
        connection.execute("INSERT INTO kept VALUES (1)")
        os.kill(postmaster_of(server), signal.SIGKILL)
    assert ask(server.start(), "SELECT count(*) FROM kept") == 1


def test_a_stale_pid_file_that_names_a_living_stranger_is_no_obstacle(server: EmbeddedPostgres) -> None:
    server.start()
    server.stop()
    stranger = f"{os.getpid()}\n{server.data_dir}\n1\n5432\n{server.data_dir}\n\n  1 1\nready\n"
    (server.data_dir / "postmaster.pid").write_text(stranger)
    assert ask(server.start(), "SELECT 1") == 1


def test_other_programs_reach_it_by_its_port(server: EmbeddedPostgres) -> None:
    server.start()
    port = free_port()
    with_port = EmbeddedPostgres(server.data_dir, port=port)
    with_port.start()
    assert ask(f"postgresql://autopay@127.0.0.1:{port}/autopay", "SELECT 1") == 1
    assert ask(with_port.url(), "SELECT 1") == 1


def test_a_long_path_has_a_short_socket() -> None:
    with tempfile.TemporaryDirectory(prefix="autopay-test-") as directory:
        server = EmbeddedPostgres(Path(directory) / ("long" * 30) / "data directory")
        socket_dir = str(ask(server.start(), "SELECT current_setting('unix_socket_directories')"))
        assert len(socket_dir) < 80
        server.stop()
    Path(socket_dir).rmdir()
