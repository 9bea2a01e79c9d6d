"""Runs `starter.py up` as people do: as a process."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from typing import Any

STARTER = Path(__file__).parents[2] / "starter.py"
PATIENCE_S = 90


class Up:
    """One `up` on a home. Its stdout gives the addresses, its stderr goes to a file beside the home."""

    def __init__(self, home: Path, *, page: bool = False) -> None:
        self.home = home
        self._options = [] if page else ["--no-page"]
        self.addresses: dict[str, Any] = {}
        self._process: Process | None = None

    @property
    def process(self) -> Process:
        """The running command."""
        assert self._process is not None
        return self._process

    async def start(self) -> dict[str, Any]:
        """Start it, and return the addresses that it prints when everything answers."""
        with self.errors.open("ab") as errors:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, str(STARTER), "up", "--home", str(self.home), "--slot-ms", "50", "--json",
                *self._options, stdin=DEVNULL, stdout=PIPE, stderr=errors, env=clean_environment(),
            )  # fmt: skip
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), PATIENCE_S)
        assert line, self.errors.read_text()
        self.addresses = json.loads(line)
        return self.addresses

    async def end(self, number: signal.Signals) -> int:
        """Send the signal, and return how it ended."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        await asyncio.wait_for(self.process.communicate(), PATIENCE_S)
        assert self.process.returncode is not None
        return self.process.returncode

    @property
    def errors(self) -> Path:
        """Where its stderr is."""
        return self.home.with_name(f"{self.home.name}.err")

    def pids(self) -> dict[str, int]:
        """The processes of the stack by name, as it has recorded them."""
        return {name: pid for name, (pid, _) in json.loads((self.home / "pids.json").read_text()).items()}


async def starter(*arguments: str) -> tuple[int, str, str]:
    """Run a command to its end: exit code, stdout, stderr."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(STARTER), *arguments, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, env=clean_environment()
    )
    out, err = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def clean_environment() -> dict[str, str]:
    """The environment without settings of whoever runs the tests."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("AUTOPAY_", "TEMPORAL_"))}
