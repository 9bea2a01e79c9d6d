"""The embedded PostgreSQL as a part of the stack, with a guard: it must not outlive a stack that was killed."""

import asyncio
import signal
import subprocess
from pathlib import Path

from autopay.processes import is_process, start_time
from localnet.child import TAIL_LINES, StackError, end_process, until_waited_for
from localnet.postgres.server import EmbeddedPostgres, PostgresNotStarted

_KILL_GRACE_S = 10

# Waits for the end of its input, which comes when the stack's process is gone, however it went; then a fast shutdown.
_GUARD = 'cat > /dev/null; kill -INT "$0"'


class PostgresPart:
    """PostgreSQL on HOME/postgres; a daemon with its own supervisor, so we hold its pid and not a child."""

    name = "postgres"

    def __init__(self, home: Path, port: int) -> None:
        self._data_dir = home / "postgres"
        self._server = EmbeddedPostgres(self._data_dir, port=port)
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
            raise StackError(f"postgres did not start: {error}") from error
        self.pid = int((self._data_dir / "postmaster.pid").read_text().split("\n", 1)[0])
        self.started = start_time(self.pid) or ""
        self._set_guard()
        self.log.unlink(missing_ok=True)
        self.log.symlink_to(self._data_dir / "server.log")

    async def wait_until_answers(self, timeout_s: float) -> None:
        """`start` has waited already."""

    async def stop(self) -> None:
        """A fast shutdown: open transactions are rolled back."""
        self._dismiss_guard()
        await asyncio.to_thread(self._server.stop)

    async def kill(self) -> None:
        """SIGKILL to the postmaster: what was committed survives."""
        self._dismiss_guard()
        if self.exit_code is None:
            await end_process(self.pid, self.started, signal.SIGKILL, _KILL_GRACE_S)

    def ending(self) -> str:
        """How it ended, for people."""
        return "it is gone"

    def tail(self) -> str:
        """The last lines of its log, and where the rest is."""
        try:
            lines = self.log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        except OSError:
            lines = []
        return "\n".join([*(f"  | {line}" for line in lines), f"  (all of it in {self.log})"])

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
