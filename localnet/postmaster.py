"""The server process of a PostgreSQL data directory: whether it lives, and what its pid file says. Starts nothing."""

import subprocess
import time
from pathlib import Path
from typing import NamedTuple


class Postmaster(NamedTuple):
    """A running server, as its `postmaster.pid` tells."""

    pid: int
    port: int
    socket_dir: Path
    listens_on_tcp: bool


def running_postmaster(data_dir: Path) -> Postmaster | None:
    """The server that runs on the directory; None when there is none, whatever its pid file says."""
    while True:
        try:
            lines = (data_dir / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return None
        if not lines or not _is_postmaster(lines[0], data_dir):
            return None
        if len(lines) >= 6:
            return Postmaster(int(lines[0]), int(lines[3]), Path(lines[4].strip()), bool(lines[5].strip()))
        time.sleep(0.02)  # being written


def _is_postmaster(pid: str, data_dir: Path) -> bool:
    name, directory = _process(pid.strip())
    return Path(name).name == "postgres" and directory in (None, data_dir.resolve())


def has_backends(data_dir: Path) -> bool:
    """Whether processes of a killed server still work in the directory, as far as the system tells."""
    numbers = [entry.name for entry in Path("/proc").glob("[0-9]*")]
    found = [_process(pid) for pid in numbers]
    return any(name.startswith("postgres: ") and directory == data_dir.resolve() for name, directory in found)


def _process(pid: str) -> tuple[str, Path | None]:
    """What a process calls itself, and where it works, as far as the system tells; a zombie has no name."""
    if Path("/proc/self").exists():
        try:
            name = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
            return name, Path(f"/proc/{pid}/cwd").resolve()
        except OSError:
            return "", None
    shown = subprocess.run(["ps", "-p", pid, "-o", "comm="], capture_output=True, text=True, check=False)
    return shown.stdout.strip(), None
