"""Command lines that messages propose, fit to be pasted into a shell. Pure.

Each message that names a command makes it with `command_line`: words are quoted, the program has the name that it was
called by, and the stack's folder is named again when the command that speaks was given one.
"""

import shlex
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Call:
    """How this process was called: the program as one types it in a shell, and the value of `--home`."""

    program: str = "autopay"
    home: str | None = None


_UNSET = Call()

CALL = ContextVar("call", default=_UNSET)
"""Set where a process begins: by the command line for each command, and by a worker."""


def command_line(*words: object) -> str:
    """A command of this program with these words: `autopay request 'http://host/a?b&c' --agent trader`."""
    call = CALL.get()
    home = [] if call.home is None else ["--home", call.home]
    return f"{call.program} {shlex.join([*map(str, words), *home])}"


def worker_command_line() -> str:
    """How to start a worker for what the command that speaks was about."""
    return command_line("worker")


def home_among(arguments: list[str]) -> str | None:
    """The value of `--home` among a command's arguments; what follows `--` may be another program's."""
    for place, word in enumerate(arguments):
        if word == "--":
            return None
        if word == "--home" and place + 1 < len(arguments):
            return arguments[place + 1]
        if word.startswith("--home="):
            return word.removeprefix("--home=")
    return None
