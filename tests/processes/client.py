"""Has `subprocess` and `asyncio` start our Python programs by a fork server, in a tenth of a second of CPU.

Tests start hundreds of processes, and each would import for one to four seconds. From `take_over` on
`subprocess.Popen` of this process, which asyncio uses too, asks the server for every `python FILE.py`
and for `python -m MODULE` of ours. Whatever else is started, like `python -c`, other interpreters and other programs,
is started as ever, and so is everything within `real_processes()`.
"""

import os
import pickle
import platform
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
OURS = ("autopay", "localnet", "tests")
"""Packages whose modules are run by the server."""

ALIKE = ("PYTHONPATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE")
"""Variables for Python that the server heeds; with others, or another locale, a process is started really."""

SYS_CLONE = {"x86_64": 56, "aarch64": 220}
"""The number of the system call, on machines where this works."""

_start: Callable[..., int] = subprocess._fork_exec  # type: ignore[attr-defined]
_current: "Client | None" = None


class Client:
    """The asking side of a fork server; without a connection it starts one when it is first needed."""

    def __init__(self, connection: socket.socket | None = None) -> None:
        self._connection = connection
        self._server: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._variables = _for_python(os.environ)

    def fits(self, environment: dict[str, str]) -> bool:
        """Whether the server's Python was started as one with this environment would be."""
        return os.getpid() == self._pid and _for_python(environment) == self._variables

    def fork(self, job: Sequence[Any], files: Sequence[int]) -> int:
        """The pid of a new child of this process.

        Raises:
            ConnectionError: the server has ended.
        """
        with self._lock:
            if self._connection is None:
                self._connection = self._started()
            socket.send_fds(self._connection, [pickle.dumps(job)], files)
            answer = self._connection.recv(100)
        if not answer:
            raise ConnectionError("the fork server has ended")
        return int(answer)

    def close(self) -> None:
        """End the server."""
        if self._connection is not None:
            self._connection.close()
        if self._server is not None:
            self._server.wait()

    def _started(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, "-P", "-m", "tests.processes.server", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],  # which has it started really
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                cwd=ROOT,
            )
        return ours


def _for_python(environment: Any) -> dict[str, str]:
    prefixes = ("PYTHON", "LANG", "LC_", "LD_", "MALLOC_")
    return {name: value for name, value in environment.items() if name.startswith(prefixes) and name not in ALIKE}


def take_over(client: Client) -> None:
    """Ask that server from now on; nothing changes where processes cannot be forked so."""
    global _current  # noqa: PLW0603 (there is one `subprocess` in a process)
    if sys.platform == "linux" and platform.machine() in SYS_CLONE:
        _current = client
        subprocess._fork_exec = _fork_exec  # type: ignore[attr-defined]


@contextmanager
def real_processes() -> Iterator[None]:
    """Within it, every process is started by the interpreter's file."""
    global _current  # noqa: PLW0603
    before, _current = _current, None
    try:
        yield
    finally:
        _current = before


def _fork_exec(
    arguments: Sequence[str],
    executables: Sequence[bytes],
    close_fds: bool,
    pass_fds: Sequence[int],
    folder: Any,
    variables: Sequence[bytes] | None,
    p2cread: int,
    p2cwrite: int,
    c2pread: int,
    c2pwrite: int,
    errread: int,
    errwrite: int,
    errpipe_read: int,
    errpipe_write: int,
    restore_signals: bool,
    new_session: bool,
    process_group: int,
    gid: Any,
    gids: Any,
    uid: Any,
    umask: int,
    before: Callable[[], None] | None,
    *rest: Any,
) -> int:
    """As `_posixsubprocess.fork_exec`: the new process's pid."""
    words = _words(arguments)
    plain = close_fds and set(pass_fds) == {errpipe_write} and (process_group, umask) == (-1, -1)
    plain = plain and (gid, gids, uid) == (None, None, None) and (before is None or isinstance(before, partial))
    if _current is not None and words and plain:
        environment = os.environb if variables is None else dict(each.split(b"=", 1) for each in variables)
        decoded = {os.fsdecode(name): os.fsdecode(value) for name, value in environment.items()}
        if _current.fits(decoded):
            where = os.getcwd() if folder is None else os.fsdecode(folder)
            job = (words, "-P" in arguments[1:2], dict(environment), where, bool(new_session), before)
            files = [asked if asked != -1 else own for own, asked in enumerate((p2cread, c2pwrite, errwrite))]
            return _current.fork(job, files)
    return _start(
        arguments, executables, close_fds, pass_fds, folder, variables, p2cread, p2cwrite, c2pread, c2pwrite,
        errread, errwrite, errpipe_read, errpipe_write, restore_signals, new_session, process_group, gid, gids, uid,
        umask, before, *rest,
    )  # fmt: skip


def _words(arguments: Sequence[Any]) -> list[str]:
    """The file, or the module of ours, with its arguments, when this is a command line of this Python; else none."""
    if not arguments or os.fsdecode(arguments[0]) != sys.executable:
        return []
    words = [os.fsdecode(each) for each in arguments[1:]]
    if words[:1] == ["-P"]:
        words = words[1:]
    if words[:1] == ["-m"]:
        return words if words[1].partition(".")[0] in OURS else []
    return words if words and words[0].endswith(".py") else []
