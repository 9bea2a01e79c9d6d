"""One process of the embedded stack: started with its log, asked whether it answers, stopped or killed."""

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from autopay.processes import is_process, start_time
from localnet.failures import one_line

POLL_S = 0.03
ZOMBIE_S = 5
LOG_LIMIT_BYTES = 20_000_000

_PR_SET_PDEATHSIG = 1  # prctl(2)
_PRCTL = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


class StackError(Exception):
    """The embedded stack cannot run; the message is one line: which part, why, where its log is, and what to do."""


@dataclass(frozen=True)
class Program:
    """What to run, and how to tell that it works.

    `answers` is asked again and again until it is true; it may raise OSError for "not yet". `stop_signal` is its
    polite end, `grace_s` how long that may take.
    """

    name: str
    command: Sequence[str]
    answers: Callable[[], Awaitable[bool]]
    env: Mapping[str, str] = field(default_factory=dict)
    stop_signal: signal.Signals = signal.SIGTERM
    grace_s: float = 10


class Child:
    """A program that runs, or ran."""

    def __init__(self, program: Program, logs: Path) -> None:
        self.program = program
        self.log = logs / f"{program.name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0
        self.started = ""

    @property
    def name(self) -> str:
        """The program's name."""
        return self.program.name

    @property
    def pid(self) -> int:
        """The pid it has or had; 0 before the first start."""
        return self._process.pid if self._process else 0

    @property
    def exit_code(self) -> int | None:
        """How it ended, minus the signal when one ended it; None while it runs."""
        return self._process.poll() if self._process else 0

    async def start(self) -> None:
        """Start it in a session of its own, so that a Ctrl-C at the terminal does not reach it directly."""
        self._spawn()

    async def wait_until_answers(self, timeout_s: float) -> None:
        """Return once it answers.

        Raises:
            StackError: it ended instead, or the time is over.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            if self.exit_code is not None:
                raise StackError(self.failure(f"{self.name} did not start ({self.ending()})"))
            try:
                if await self.program.answers() and self.exit_code is None:
                    return
            except OSError:
                pass
            if time.monotonic() > deadline:
                raise StackError(self.failure(f"{self.name} does not answer after {timeout_s:.0f} s"))
            await asyncio.sleep(POLL_S)

    async def stop(self) -> None:
        """End it politely, and after its grace with SIGKILL; returns when it is gone."""
        if self.exit_code is None:
            await self._end(self.program.stop_signal)

    async def kill(self) -> None:
        """SIGKILL, and return when it is gone."""
        if self.exit_code is None:
            await self._end(signal.SIGKILL)

    def ending(self) -> str:
        """How it ended, for people."""
        code = self.exit_code
        return signal.Signals(-code).name if code is not None and code < 0 else f"exit {code}"

    def written(self) -> str:
        """What it wrote to its log since this start."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def failure(self, what: str) -> str:
        """`what` happened to it, in one line with the reason that its log gives."""
        return one_line(what, self.written(), self.log, self.log.parent.parent)

    def _spawn(self) -> None:
        assert self.exit_code is not None, f"{self.name} runs"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                self.program.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **self.program.env},
                start_new_session=True,
                preexec_fn=partial(_die_with, os.getpid()),  # noqa: PLW1509 (system calls only)
            )
        self.started = start_time(self.pid) or ""

    async def _end(self, number: signal.Signals) -> None:
        process = self._process  # another one may be started in its place before we look again
        assert process is not None
        await end_process(process.pid, self.started, number, self.program.grace_s, lambda: process.poll() is not None)


async def end_process(
    pid: int, started: str, polite: signal.Signals, grace_s: float, over: Callable[[], bool] | None = None
) -> None:
    """Send `polite` to exactly that process, SIGKILL after `grace_s`, and wait until it is gone.

    `over` tells better than /proc when it has ended, where somebody can wait for it: the leader of a program's
    threads is shown as a zombie while others still run.
    """
    gone = over or (lambda: not is_process(pid, started))
    for number in (polite, signal.SIGKILL):
        if gone():
            break
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + grace_s
        while not gone() and time.monotonic() < deadline:  # noqa: ASYNC110 (a process has no event to wait for)
            await asyncio.sleep(POLL_S)
    await until_waited_for(pid)


async def until_waited_for(pid: int) -> None:
    """Wait, for a short time, until a process that ended is no zombie any more.

    PostgreSQL takes the zombie of its predecessor for a server that still runs.
    """
    deadline = time.monotonic() + ZOMBIE_S
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except OSError:
            return
        await asyncio.sleep(POLL_S)


def _die_with(parent: int) -> None:
    """On Linux: this process gets SIGTERM when its parent dies, even of SIGKILL. Elsewhere the next start cleans up.

    Runs between fork and exec, so it does nothing but system calls.
    """
    if _PRCTL is not None:
        _PRCTL(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
        if os.getppid() != parent:  # it died before the system call
            os._exit(1)
