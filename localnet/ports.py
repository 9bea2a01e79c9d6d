"""Ports of the embedded stack: the preferred ones when free, and the same ones again at the next start.

A port that was found free is *claimed* until its server has no more need of it: two stacks that start at the same
moment would otherwise find the same ports free. A claim is a locked file, so it ends with the process that made it.
"""

import fcntl
import json
import os
import random
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path

PORTS_FILE = "ports.json"
PREFERRED: Mapping[str, int] = {
    "chain": 8899,
    "chain-ws": 8900,  # where clients look that are told the other one only
    "temporal": 7233,
    "temporal-ui": 8233,
    "codec": 8234,
    "postgres": 55432,
    "facilitator": 8402,
    "market": 8403,
    "knowledge": 8404,
    "page": 8406,
}
OTHERS = range(10_000, 32_000)
"""Where any other port is chosen: below those that Linux (32768) and macOS (49152) give to outgoing connections, one
of which could take a port between our finding it free and its server's start."""
TRIES = 1_000


class PortClaims:
    """Ports that this process has claimed on this machine, against every other process of this user."""

    def __init__(self) -> None:
        self._locks: dict[int, int] = {}

    def claim(self, port: int) -> bool:
        """Whether the port was free, is claimed by nobody else, and is ours from now on."""
        if port in self._locks:
            return False
        lock = os.open(_claims_folder() / str(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            return False
        if not is_free(port):
            os.close(lock)
            return False
        self._locks[port] = lock
        return True

    def claim_any(self) -> int:
        """A port that was free, and is ours from now on.

        Raises:
            OSError: none was found free in many tries.
        """
        for port in random.sample(OTHERS, TRIES):
            if self.claim(port):
                return port
        raise OSError(f"none of {TRIES} ports tried on this machine is free")

    def release(self) -> None:
        """Give all of them back."""
        for lock in self._locks.values():
            os.close(lock)
        self._locks.clear()


def choose_ports(home: Path, claims: PortClaims, *, ephemeral: bool) -> dict[str, int]:
    """A claimed port for each part: the one of the last start, else the preferred one, else any; kept in HOME.

    With `ephemeral` none is preferred, so that several stacks run side by side.
    """
    remembered = _remembered(home)
    chosen: dict[str, int] = {}
    for part, preferred in PREFERRED.items():
        wishes = (remembered.get(part, 0), 0 if ephemeral else preferred)
        claimed = next((port for port in wishes if port and claims.claim(port)), 0)
        chosen[part] = claimed or claims.claim_any()
    (home / PORTS_FILE).write_text(json.dumps(chosen, indent=2) + "\n")
    return chosen


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now, on loopback and on all addresses."""
    return all(_can_bind(host, port) for host in ("127.0.0.1", ""))


def _can_bind(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError):
            return False
        return True


def _claims_folder() -> Path:
    """Where the locks are; a file stays behind for each port, empty."""
    folder = Path(tempfile.gettempdir()) / f"autopay-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _remembered(home: Path) -> dict[str, int]:
    try:
        ports = json.loads((home / PORTS_FILE).read_text())
        return {str(part): int(port) for part, port in ports.items()}
    except (OSError, ValueError, AttributeError):
        return {}
