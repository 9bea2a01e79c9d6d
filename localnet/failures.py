"""Why a part of the stack does not run, in one line: what went wrong, where its log is, and what to do."""

import re
from collections.abc import Sequence
from pathlib import Path

MOST_CHARS = 300

_SPACE = "No space left on device|disk is full|Disk quota exceeded"
_RIGHTS = "Permission denied|Read-only file system|Operation not permitted"
_DAMAGED = "file is not a database|database disk image is malformed|file is encrypted"
_VERSION = "initialized by PostgreSQL version|incompatible with server"
_NEWER = "Can't locate revision"
_PORT = "[Aa]ddress already in use|could not bind|only one usage of each socket address"

_ADVICE: Sequence[tuple[str, str]] = (
    (_SPACE, "make room on that disk and start again; nothing is lost"),
    (_RIGHTS, "make {home} writable for this account, or take another --home"),
    (_DAMAGED, "a file of {home} is damaged: bring it back from a copy, or take another --home"),
    (_VERSION, "{home} was made with another PostgreSQL: use that installation, or take another --home"),
    (_NEWER, "a newer version of Autopay has used {home}: use that one, or take another --home"),
    (_PORT, "another program has just taken its port: start again, and another port is chosen"),
)
_OTHERWISE = "mend what it says and start again, or take another --home"

_TELLING = re.compile(
    r"(?:^|.*\s)(?:FATAL|PANIC):\s|^(?:initdb|pg_ctl): error:|^[\w.]*(?:Error|Exception|Fault|Damaged): "
)
"""Lines that say why: PostgreSQL's, and the last one of a Python traceback."""


def one_line(what: str, written: str, log: Path | None, home: Path) -> str:
    """`what` went wrong, the line of `written` that says why, where the log is, and what to do."""
    why = reason(written)
    parts = [
        f"{what}: {why}" if why else what,
        *([f"its log: {log}"] if log is not None else []),
        advice(f"{what}\n{written}", home),
    ]
    return "; ".join(part.rstrip(".:; ") for part in parts)


def os_error_line(error: OSError, home: Path) -> str:
    """The same of a file or program that cannot be used."""
    about = f"{error.filename} cannot be used: {error.strerror}" if error.filename else str(error)
    return one_line(about, "", None, home) if error.errno is None else f"{about}; {advice(str(error), home)}"


def first_line(error: Exception) -> str:
    """What an error says, without the lines that follow; its name when it says nothing."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def advice(written: str, home: Path) -> str:
    """What to do about it."""
    found = next((what for pattern, what in _ADVICE if re.search(pattern, written)), _OTHERWISE)
    return found.format(home=home)


def reason(written: str) -> str:
    """The line that says why, without what an editor or terminal could stumble over; "" when nothing was written."""
    lines = [line.strip() for line in written.splitlines() if line.strip()]
    if not lines:
        return ""
    known = "|".join(pattern for pattern, _ in _ADVICE)
    telling = [line for line in lines if re.search(known, line)] or [line for line in lines if _TELLING.match(line)]
    text = (telling or lines)[-1]
    return text if len(text) <= MOST_CHARS else f"{text[:MOST_CHARS]}…"
