"""This machine, and what processes cost on it, as Linux tells it in /proc: CPU time and memory of a process and its
descendants. And `tell`, for progress."""

import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Cost:
    """CPU seconds since its start, and resident megabytes now."""

    cpu_s: float
    rss_mb: float


def cost_of(pid: int) -> Cost:
    """Of that process and all its descendants; shared pages count in each."""
    children: dict[int, list[int]] = {}
    stats: dict[int, list[str]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        stats[int(entry.name)] = fields
        children.setdefault(int(fields[1]), []).append(int(entry.name))
    ticks, pages, todo = 0, 0, [pid]
    while todo:
        one = todo.pop()
        todo += children.get(one, [])
        if one in stats:
            ticks += sum(int(each) for each in stats[one][11:15])  # proc(5): utime, stime; cutime, cstime of the ended
            pages += int(stats[one][21])  # field 24: rss
    return Cost(ticks / TICKS, pages * PAGE / 1e6)


def machine() -> str:
    """Cores, memory and system, in a line."""
    memory = os.sysconf("SC_PHYS_PAGES") * PAGE / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GB of memory, {platform.system()} {platform.machine()}"


def tell(line: str) -> None:
    """A line on stderr about the benchmark's progress."""
    sys.stderr.write(f"{line}\n")
