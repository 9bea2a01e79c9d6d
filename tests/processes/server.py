"""The fork server: a process that has imported our libraries, and forks whenever its parent wants a Python process.

Run by `client.py`. A forked process belongs to whoever asked: it is a child of the asking process, which waits for it
and signals it like any other, and has the environment, folder, files and session that were asked for. Its modules are
there already; `/proc/PID/cmdline` and `/proc/PID/environ` are the server's.
"""

import contextlib
import ctypes
import gc
import importlib
import io
import os
import pickle
import platform
import runpy
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.processes.client import SYS_CLONE, Client, take_over

IMPORTED_FIRST = (
    "worker",
    "localnet.chain.__main__",
    "localnet.facilitator",
    "localnet.sellers.__main__",
    "localnet.stack",
    "autopay.temporal.codec_server",
    "autopay.cli.app",
    "autopay.cli.launch.launch_steps",
    "autopay.cli.request.request",
    "autopay.client.direct",
    "autopay.requests",
    "httpx2",
    "uvicorn.loops.auto",
    "uvicorn.protocols.http.auto",
    "uvicorn.protocols.websockets.auto",
)
"""What most of our programs import. What else one needs, it imports itself."""

STARTERS = ("up", "demo")
"""Commands that start processes of ours themselves; each gets a fork server of its own."""

LONGEST_MESSAGE = 1 << 20

_CLONE_PARENT = 0x8000  # sched.h


class Job(NamedTuple):
    """A process to be made: `words` are what follows `python -P` in its command line."""

    words: list[str]
    safe_path: bool
    environment: dict[bytes, bytes]
    folder: str
    new_session: bool
    before: Callable[[], None] | None


def next_job(requests: socket.socket) -> tuple[Job, list[int]]:
    """Serve until the other side is gone, which ends this process. Returns in forked processes only."""
    while True:
        message, files, _, _ = socket.recv_fds(requests, LONGEST_MESSAGE, 3)
        if not message:
            os._exit(0)
        pid = _fork_for_parent()
        if pid == 0:
            return Job(*pickle.loads(message)), files  # noqa: S301 (from our own parent)
        for file in files:
            os.close(file)
        requests.send(str(pid).encode())


def _fork_for_parent() -> int:
    """Fork like `os.fork`, but as a child of our parent: os.fork has no CLONE_PARENT."""
    python = ctypes.pythonapi
    python.PyOS_BeforeFork()
    pid = int(ctypes.PyDLL(None).syscall(SYS_CLONE[platform.machine()], _CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0))
    if pid == 0:
        python.PyOS_AfterFork_Child()
    else:
        python.PyOS_AfterFork_Parent()
    return pid


def become(job: Job, files: list[int]) -> None:
    """Have everything that a process started by itself would have."""
    for number, file in enumerate(files):
        os.dup2(file, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    if job.new_session:
        os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environb.update(job.environment)
    time.tzset()
    os.chdir(job.folder)
    _open_streams()
    if job.before is not None:
        job.before()


def _open_streams() -> None:
    """`sys.stdin`, `stdout` and `stderr` as Python makes them."""
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 (for the whole process)
    for number, name in ((1, "stdout"), (2, "stderr")):
        raw = open(number, "wb", buffering=0 if unbuffered else -1, closefd=False)  # noqa: SIM115
        stream = io.TextIOWrapper(
            raw,
            encoding="utf-8",
            errors="strict" if name == "stdout" else "backslashreplace",
            line_buffering=number == 2 or raw.isatty(),
            write_through=unbuffered,
        )
        setattr(sys, name, stream)


def execute(job: Job, path: list[str]) -> None:
    """Run the module or the file as `__main__`."""
    first, *rest = job.words
    named = os.environ.get("PYTHONPATH")
    sys.path[:] = [*(named.split(os.pathsep) if named else []), *path]
    if first == "-m":
        module, *arguments = rest
        if not job.safe_path:
            sys.path.insert(0, job.folder)
        is_package = hasattr(sys.modules.get(module), "__path__")
        sys.modules.pop(f"{module}.__main__" if is_package else module, None)  # else runpy warns of a second run
        sys.argv[:] = [module, *arguments]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        if not job.safe_path:
            sys.path.insert(0, str(Path(first).parent))
        sys.argv[:] = job.words
        runpy.run_path(first, run_name="__main__")


def serve(requests: socket.socket, path: list[str]) -> None:
    """Serve, and be what is asked for in the forked processes."""
    job, files = next_job(requests)
    become(job, files)
    if set(job.words) & set(STARTERS):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if os.fork() == 0:
            ours.close()
            _hold_no_file()
            return serve(theirs, path)
        theirs.close()
        take_over(Client(ours))
    return execute(job, path)


def _hold_no_file() -> None:
    """Who reads what a process writes waits until nobody can write any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nothing, number)
    os.close(nothing)


def main() -> None:
    """Import, then serve at the file descriptor that is the argument."""
    requests = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C at the terminal is for those who asked
    before = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    path = [each for each in sys.path if each not in before]
    for name in IMPORTED_FIRST:
        with contextlib.suppress(ImportError):  # an extra that is not installed
            importlib.import_module(name)
    gc.collect()
    gc.freeze()
    serve(requests, path)


if __name__ == "__main__":
    main()
