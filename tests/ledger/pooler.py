"""PgBouncer in transaction mode before the test's PostgreSQL, where it is installed."""

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.localnet.stack import free_port

PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
START_S = 10


@contextmanager
def pooled(database_url: str, folder: Path) -> Iterator[str]:
    """The URL of the same database through a pooler that has fewer connections than the ledger opens."""
    if PROGRAM is None:
        pytest.skip("pgbouncer is not installed")
    parts = urlsplit(database_url)
    query, name, port = parse_qs(parts.query), parts.path.strip("/"), free_port()
    socket_dir = Path(query["host"][0])
    account = socket_dir.stat().st_uid  # the socket is open to nobody else
    (folder / "users.txt").write_text(f'"{parts.username}" ""\n')
    (folder / "pgbouncer.ini").write_text(
        f"""
        [databases]
        {name} = host={socket_dir} port={query["port"][0]} dbname={name}
        [pgbouncer]
        listen_addr = 127.0.0.1
        listen_port = {port}
        unix_socket_dir =
        auth_type = trust
        auth_file = {folder}/users.txt
        pool_mode = transaction
        default_pool_size = 3
        ignore_startup_parameters = options
        """.replace("        ", "")
    )
    for path in (folder, *folder.parents):
        if path.stat().st_uid == os.getuid() and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o055)
    command = [PROGRAM, "-q", str(folder / "pgbouncer.ini")]
    user = account if os.getuid() == 0 else None
    group = pwd.getpwuid(account).pw_gid if user is not None else None
    process = subprocess.Popen(command, user=user, group=group, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        _wait_for(port, process)
        yield f"postgresql://{parts.username}@127.0.0.1:{port}/{name}"
    finally:
        process.kill()
        process.communicate()


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert process.poll() is None, process.communicate()[0].decode()
            assert time.monotonic() < deadline, "the pooler did not start"
            time.sleep(0.02)
        else:
            return
