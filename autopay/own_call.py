"""How this process was called, as messages that propose a command name it."""

import shlex
import shutil
import sys
from pathlib import Path

from autopay.domain.text.command_line import Call

COMMAND, STARTER = "autopay", "starter.py"
"""The command line as it is installed, and as the file in a checkout or image."""

MODULE = Path(__file__).with_name("__main__.py")
"""What `python -m autopay` runs."""


def own_call() -> Call:
    """How this process was called: `autopay` or its path where it is installed, or `.venv/bin/python starter.py`.

    A worker names the command line that is installed beside its Python, or else lies beside itself.
    """
    script, python = Path(sys.argv[0]), _as_typed(sys.executable)
    installed = script if script.name == COMMAND else Path(sys.executable).with_name(COMMAND)
    starter = script.with_name(STARTER)
    if starter.is_file() and (script.name == STARTER or not installed.is_file()):
        return Call(program=f"{python} {_as_typed(str(starter))}")
    if not installed.is_file():
        return Call(program=f"{python} -m {COMMAND}") if script == MODULE else Call()
    on_path = shutil.which(COMMAND)
    is_found = on_path is not None and Path(on_path).absolute() == installed.absolute()
    return Call(program=COMMAND if is_found else _as_typed(str(installed)))


def _as_typed(path: str) -> str:
    """The path, quoted, and relative when it is beneath the working directory."""
    given = Path(path).absolute()
    shown = given.relative_to(Path.cwd()) if given.is_relative_to(Path.cwd()) else given
    return shlex.quote(str(shown))
