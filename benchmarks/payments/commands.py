"""What a command costs as a process of its own, whatever it asks for."""

import asyncio
import os
import signal
import statistics
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.payments.figures import Count
from benchmarks.payments.ours import AgentBuyer
from benchmarks.payments.town import AGENT, Town

STARTER = Path(__file__).parents[2] / "starter.py"
TIMES = 7
LONGEST_S = 30
"""A command that takes longer is killed, and fails the measurement."""

SITUATION = "a process"


async def command_figures(here: Town, buyer: AgentBuyer) -> list[Count]:
    """Milliseconds until the command has ended, and of CPU, in the median.

    The request is one that has ended before, so that nothing is bought: all of it is beyond the purchase.
    """
    url = f"{here.sellers[0]}/data"
    await buyer.buy_all(url, 1, 1)
    again = ["request", url, "--agent", AGENT, "--id", buyer.bought[-1]]
    found = []
    for name, arguments in {"--help": ["--help"], "request": again}.items():
        wall_ms, cpu_ms = await _run(here, arguments)
        found += [
            Count(f"`starter.py {name}` without a purchase, ms", wall_ms, SITUATION),
            Count(f"CPU of `starter.py {name}`, ms", cpu_ms, SITUATION),
        ]
    return found


async def _run(here: Town, arguments: Sequence[str]) -> tuple[float, float]:
    """The medians of some runs, after one that loads everything from the disk."""
    runs = [await asyncio.to_thread(_once, here.home, arguments) for _ in range(TIMES + 1)][1:]
    wall_ms, cpu_ms = zip(*runs, strict=True)
    return round(statistics.median(wall_ms), 1), round(statistics.median(cpu_ms), 1)


def _once(home: Path, arguments: Sequence[str]) -> tuple[float, float]:
    """Milliseconds, and those of CPU."""
    began = time.perf_counter()
    quiet = os.open(os.devnull, os.O_WRONLY)
    try:
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, str(STARTER), *arguments],
            {**os.environ, "AUTOPAY_HOME": str(home)},
            file_actions=[(os.POSIX_SPAWN_DUP2, quiet, 1), (os.POSIX_SPAWN_DUP2, quiet, 2)],
        )
    finally:
        os.close(quiet)
    killing = threading.Timer(LONGEST_S, os.kill, (pid, signal.SIGKILL))
    killing.start()
    _, status, used = os.wait4(pid, 0)
    killing.cancel()
    if os.waitstatus_to_exitcode(status) != 0:
        raise RuntimeError(f"starter.py {' '.join(arguments)} failed")
    return (time.perf_counter() - began) * 1000, (used.ru_utime + used.ru_stime) * 1000
