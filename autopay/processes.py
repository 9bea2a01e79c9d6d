"""Which process a pid means: a pid alone can be reused, a pid with its time of birth cannot."""

import os
import subprocess
from pathlib import Path


def birth(pid: int) -> str | None:
    """When process `pid` was born, as a text to compare; None when there is no such process.

    A process that ended and was not yet waited for (a zombie) counts as gone.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return None if Path("/proc/self/stat").exists() else _birth_by_ps(pid)
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]  # field 22 of proc(5), in clock ticks since boot


def is_process(pid: int, born: str) -> bool:
    """Whether `pid` is alive and still the process that was born then."""
    return birth(pid) == born


def own_birth() -> str:
    """This process's time of birth."""
    born = birth(os.getpid())
    assert born is not None
    return born


def _birth_by_ps(pid: int) -> str | None:
    answer = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return answer.stdout.strip() or None
