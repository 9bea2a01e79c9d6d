"""How a command ends: exit codes, the exception that ends one with a message, and the texts at the end of a --help."""

import shutil
import textwrap
from enum import IntEnum

from autopay.client.errors import AutopayError, InvalidCall, Misconfigured, NotDecided, NotDecidedYet, Unreachable
from autopay.delegation.errors import WaitsForOwner
from autopay.domain.text.command_line import CALL


class ExitCode(IntEnum):
    """Exit codes; `MEANINGS` explains each."""

    OK = 0
    FAULT = 1
    USAGE = 2
    REFUSED = 3
    FAILED = 4
    UNDELIVERED = 5
    UNREACHABLE = 6
    UNFINISHED = 7
    INTERRUPTED = 130


MEANINGS = {
    ExitCode.OK: "done; of a request: delivered, free or fresh",
    ExitCode.FAULT: "the command itself failed, or ledger and chain differ",
    ExitCode.USAGE: "wrong arguments or settings, no such agent, or an --id with other terms",
    ExitCode.REFUSED: "refused: by policy, terms or a person; nothing was paid",
    ExitCode.FAILED: "failed: no content, and it is proven that nothing was paid",
    ExitCode.UNDELIVERED: "undelivered: paid, and the seller did not deliver",
    ExitCode.UNREACHABLE: "Temporal, the database, the chain or the agent does not answer",
    ExitCode.UNFINISHED: "waiting or unresolved: ask again with the same --id",
}


NARROWEST = 52
"""Columns of the narrowest terminal that a `--help` is wrapped for, by typer and here."""


class CommandError(Exception):
    """Ends a command with one line on stderr and an exit code; never a traceback."""

    def __init__(self, message: str, code: ExitCode = ExitCode.USAGE) -> None:
        super().__init__(message)
        self.code = code


def code_of(error: AutopayError) -> ExitCode:
    """How a command ends whose work ended with that error."""
    match error:
        case Unreachable():
            return ExitCode.UNREACHABLE
        case WaitsForOwner():
            return ExitCode.UNFINISHED
        case InvalidCall() | Misconfigured():
            return ExitCode.USAGE
        case NotDecided():
            return ExitCode.REFUSED
        case NotDecidedYet():
            return ExitCode.UNFINISHED
        case _:
            return ExitCode.FAULT


def exit_codes_help() -> str:
    """The codes and their meanings, for the end of a `--help`; `\b` keeps typer from joining the lines."""
    width = max(shutil.get_terminal_size().columns, NARROWEST) - 4  # a --help is indented by two columns
    wrapper = textwrap.TextWrapper(width, subsequent_indent=" " * 5, break_on_hyphens=False)
    lines = (wrapper.fill(f"  {int(code)}  {meaning}") for code, meaning in MEANINGS.items())
    return "\n".join(["\b", "Exit codes:", *lines])


def examples_help(*lines: str) -> str:
    """Command lines for the end of a `--help`."""
    return "\n".join(["\b", "Examples:", *(f"  {CALL.get().program} {line}" for line in lines)])
