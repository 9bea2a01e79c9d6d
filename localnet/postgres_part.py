"""The embedded PostgreSQL as a part of the stack, with a guard: it must not outlive a stack that was killed."""

import asyncio
import signal
import subprocess
from pathlib import Path

from autopay.processes import is_process, start_time
from localnet.child import StackError, end_process, until_waited_for
from localnet.failures import one_line
from localnet.postgres.postmaster import running_postmaster
from localnet.postgres.server import EmbeddedPostgres, PostgresNotStarted

_KILL_GRACE_S = 10
_STOP_GRACE_S = 20

# Waits for the end of its input, which comes when the stack's process is gone, however it went; then a fast shutdown.
_GUARD = 'cat > /dev/null; kill -INT "$0"'


class PostgresPart:
    """PostgreSQL on HOME/postgres; a daemon with its own supervisor, so we hold its pid and not a child.

    Raises:
        StackError: its programs or its account are missing.
    """

    name = "postgres"

    def __init__(self, home: Path, port: int) -> None:
        self._home = home
        self._data_dir = home / "postgres"
        try:
            self._server = EmbeddedPostgres(self._data_dir, port=port)
        except (PostgresNotStarted, OSError, subprocess.SubprocessError) as error:
            raise StackError(f"postgres cannot be run: {error}") from error
        self._guard: subprocess.Popen[bytes] | None = None
        self.log = home / "logs" / "postgres.log"
        self.pid = 0
        self.started = ""
        self.url = ""

    def url_of(self, role: str) -> str:
        """Its address for that role."""
        return self._server.url(role=role)

    @property
    def exit_code(self) -> int | None:
        """None while it runs; how it ended is in its log."""
        return None if self.pid and is_process(self.pid, self.started) else 1

    async def start(self) -> None:
        """Start it and wait until it takes connections; `url` is its address then."""
        self._dismiss_guard()
        if self.pid:
            await until_waited_for(self.pid)
        try:
            self.url = await asyncio.to_thread(self._server.start)
        except (PostgresNotStarted, OSError, subprocess.SubprocessError) as error:
            raise StackError(self._failure("postgres did not start", str(error))) from error
        self.pid = int((self._data_dir / "postmaster.pid").read_text().split("\n", 1)[0])
        self.started = start_time(self.pid) or ""
        self._set_guard()
        self.log.unlink(missing_ok=True)
        self.log.symlink_to(self._data_dir / "server.log")

    async def wait_until_answers(self, timeout_s: float) -> None:
        """`start` has waited already."""

    async def stop(self) -> None:
        """A fast shutdown: open transactions are rolled back. One that still starts is waited for, then stopped."""
        self._dismiss_guard()
        try:
            await asyncio.to_thread(self._server.stop)
        except OSError:  # a home that cannot be written any more must not keep it alive
            if self.exit_code is None:
                await end_process(self.pid, self.started, signal.SIGINT, _STOP_GRACE_S)

    async def kill(self) -> None:
        """SIGKILL to the postmaster: what was committed survives."""
        self._dismiss_guard()
        if not self.pid and (starting := running_postmaster(self._data_dir)) is not None:
            self.pid, self.started = starting.pid, start_time(starting.pid) or ""
        if self.exit_code is None:
            await end_process(self.pid, self.started, signal.SIGKILL, _KILL_GRACE_S)

    def ending(self) -> str:
        """How it ended, for people."""
        return "it is gone"

    def failure(self, what: str) -> str:
        """`what` happened to it, in one line with the reason that its log gives."""
        return self._failure(what, self._server.log_end())

    def _failure(self, what: str, written: str) -> str:
        log = self._server.log
        return one_line(what, written, log if log.exists() else None, self._home)

    def _set_guard(self) -> None:
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, str(self.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _dismiss_guard(self) -> None:
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()
            self._guard = None
