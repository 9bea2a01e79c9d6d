"""The home of an embedded stack: its lock, its keyring, and the processes that a killed stack left behind."""

import asyncio
import fcntl
import json
import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO, Protocol

from autopay.adapters.vault import Keyring
from autopay.processes import is_process
from autopay.settings.stack_file import KEYRING_FILE, STACK_FILE, StackFile
from localnet.child import StackError, end_process
from localnet.failures import advice

LOCK_FILE = "lock"
PIDS_FILE = "pids.json"
_LEFTOVER_GRACE_S = 5
_POSTGRES_GRACE_S = 20  # its last checkpoint


class Running(Protocol):
    """A part whose process is to be found again."""

    @property
    def name(self) -> str: ...
    @property
    def pid(self) -> int: ...
    @property
    def started(self) -> str: ...


class Home:
    """One stack's directory; at most one process holds it at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self._lock: IO[str] | None = None

    @property
    def logs(self) -> Path:
        """Where each part writes its log."""
        return self.path / "logs"

    def hold(self) -> None:
        """Take the lock, which the operating system gives back when this process ends, however it ends.

        Holding it already is fine.

        Raises:
            StackError: another process holds it, or the directory cannot be written.
        """
        if self._lock is not None:
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = (self.path / LOCK_FILE).open("a+")
        except OSError as error:
            raise StackError(self._unusable(error)) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._write_holder(lock)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            lock.close()
            raise StackError(
                f"the stack of {self.path} is already running (pid {holder}): use it, stop it with Ctrl-C, "
                "or give this one another --home"
            ) from None
        except OSError as error:
            with suppress(OSError):  # what could not be written is written once more
                lock.close()
            raise StackError(self._unusable(error)) from None
        self._lock = lock

    def release(self) -> None:
        """Give the home back: nobody is told any more that a stack runs here."""
        if self._lock is None:
            return  # it was never ours, and may be somebody else's
        for name in (STACK_FILE, PIDS_FILE):
            with suppress(OSError):  # it names this process, so it tells nobody anything once that has ended
                (self.path / name).unlink()
        self._lock.close()
        self._lock = None

    def publish(self, addresses: StackFile) -> None:
        """Tell commands and workers of this home where the stack is."""
        addresses.write(self.path)

    def record(self, parts: Iterable[Running]) -> None:
        """Remember the parts' processes, for the start after a crash."""
        pids = {part.name: [part.pid, part.started] for part in parts if part.pid}
        draft = self.path / f".{PIDS_FILE}"
        draft.write_text(json.dumps(pids) + "\n")
        draft.replace(self.path / PIDS_FILE)

    async def end_leftovers(self) -> list[str]:
        """End what a stack that was killed left running, and only that; returns the names."""
        found = [(name, pid, started) for name, (pid, started) in self._recorded().items() if is_process(pid, started)]
        await asyncio.gather(*(_end_leftover(*each) for each in found))
        return [name for name, _, _ in found]

    def make_keyring(self) -> None:
        """The keyring that seals this home's secrets: made once, readable by its owner only."""
        path = self.path / KEYRING_FILE
        if path.exists():
            return
        draft = path.with_name(f".{KEYRING_FILE}.new")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(Keyring.generate().dump() + "\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)

    def _unusable(self, error: OSError) -> str:
        return f"{self.path} cannot be used as home: {error.strerror}; {advice(str(error), self.path)}"

    @staticmethod
    def _write_holder(lock: IO[str]) -> None:
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()

    def _recorded(self) -> dict[str, tuple[int, str]]:
        try:
            pids = json.loads((self.path / PIDS_FILE).read_text())
            return {str(name): (int(pid), str(started)) for name, (pid, started) in pids.items()}
        except (OSError, ValueError, AttributeError):
            return {}


async def _end_leftover(name: str, pid: int, started: str) -> None:
    if name == "postgres":  # SIGINT is its fast shutdown; SIGTERM would wait for its clients
        await end_process(pid, started, signal.SIGINT, _POSTGRES_GRACE_S)
    else:
        await end_process(pid, started, signal.SIGTERM, _LEFTOVER_GRACE_S)
