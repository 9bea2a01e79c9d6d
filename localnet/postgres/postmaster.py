"""The server process of a PostgreSQL data directory: whether it lives, and what its pid file says."""

import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil


class Postmaster(NamedTuple):
    """A running server, as its `postmaster.pid` says."""

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
        if not lines or not _is_postmaster(int(lines[0]), data_dir):
            return None
        if len(lines) >= 6:
            return Postmaster(int(lines[0]), int(lines[3]), Path(lines[4].strip()), bool(lines[5].strip()))
        time.sleep(0.02)  # being written


def _is_postmaster(pid: int, data_dir: Path) -> bool:
    try:
        command, directory = _command_and_directory(psutil.Process(pid))
    except psutil.Error:
        return False
    return Path(command.partition(" ")[0]).name == "postgres" and directory == data_dir.resolve()


def has_backends(data_dir: Path) -> bool:
    """Whether processes of a killed server still work in the directory, as far as this account may see them."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            command, directory = _command_and_directory(process)
            if command.startswith("postgres: ") and directory == data_dir.resolve():
                return True
    return False


def _command_and_directory(process: psutil.Process) -> tuple[str, Path]:
    """How a process shows itself, and where it works; a zombie shows nothing.

    Raises:
        psutil.Error: there is no such process any more, or it is somebody else's.
    """
    return " ".join(process.cmdline()), Path(process.cwd())
