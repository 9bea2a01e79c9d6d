"""Processes: which one a pid means. A pid alone can be reused, a pid with the time of its start cannot."""

import os

import psutil


def start_time(pid: int) -> str | None:
    """When process `pid` started, as a text to compare; None when there is no such process.

    A process that ended and was not yet waited for (a zombie) counts as gone.
    """
    try:
        process = psutil.Process(pid)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return None
        since = psutil.boot_time() if psutil.LINUX else 0  # there, both move when the system's clock is set
        return f"{process.create_time() - since:.2f}"
    except psutil.Error:
        return None


def is_process(pid: int, started: str) -> bool:
    """Whether `pid` is alive and still the process that started then."""
    return start_time(pid) == started


def own_start_time() -> str:
    """When this process started."""
    started = start_time(os.getpid())
    assert started is not None
    return started
