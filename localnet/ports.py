"""Ports of the embedded stack: the preferred ones when free, and the same ones again at the next start."""

import json
import socket
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
}


def choose_ports(home: Path, *, ephemeral: bool) -> dict[str, int]:
    """A free port for each part: the one of the last start, else the preferred one, else any; kept in HOME.

    With `ephemeral` none is preferred, so that several stacks run side by side.
    """
    remembered = _remembered(home)
    chosen: dict[str, int] = {}
    for part, preferred in PREFERRED.items():
        wishes = (remembered.get(part, 0), 0 if ephemeral else preferred)
        taken = set(chosen.values())
        chosen[part] = next((port for port in wishes if port and port not in taken and is_free(port)), 0)
        while not chosen[part] or chosen[part] in taken:
            chosen[part] = _any_free()
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
        except OSError:
            return False
        return True


def _any_free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _remembered(home: Path) -> dict[str, int]:
    try:
        ports = json.loads((home / PORTS_FILE).read_text())
        return {str(part): int(port) for part, port in ports.items()}
    except (OSError, ValueError, AttributeError):
        return {}
