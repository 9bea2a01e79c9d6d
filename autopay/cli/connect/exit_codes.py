"""How a command ends: every exit code, and the exception that ends one with a sentence."""

from enum import IntEnum

from autopay.domain.request import RequestStatus


class ExitCode(IntEnum):
    """What a caller's program can act on."""

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
    ExitCode.OK: "done (a request: delivered, free, or fresh in the ledger)",
    ExitCode.FAULT: "the command itself failed, or the stack could not run",
    ExitCode.USAGE: "wrong arguments or settings, or no such agent",
    ExitCode.REFUSED: "refused by policy or by the terms; nothing was paid",
    ExitCode.FAILED: "no content, and it is proven that nothing was paid",
    ExitCode.UNDELIVERED: "paid, and the seller did not deliver",
    ExitCode.UNREACHABLE: "Temporal, the database, the chain or the agent cannot be reached",
    ExitCode.UNFINISHED: "not finished yet: ask again with the same --id",
}


class CommandError(Exception):
    """Ends a command with one line on stderr and an exit code; never a traceback."""

    def __init__(self, message: str, code: ExitCode = ExitCode.USAGE) -> None:
        super().__init__(message)
        self.code = code


def exit_code_of(status: RequestStatus) -> ExitCode:
    """The exit code that tells a request's status."""
    match status:
        case RequestStatus.DELIVERED | RequestStatus.FREE | RequestStatus.FRESH:
            return ExitCode.OK
        case RequestStatus.REFUSED:
            return ExitCode.REFUSED
        case RequestStatus.FAILED:
            return ExitCode.FAILED
        case RequestStatus.UNDELIVERED:
            return ExitCode.UNDELIVERED
        case RequestStatus.WAITING | RequestStatus.UNRESOLVED:
            return ExitCode.UNFINISHED


def exit_codes_help() -> str:
    """The codes and their meanings, for the end of a `--help`; `\b` keeps the lines as they are."""
    return "\n".join(["\b", "Exit codes:", *(f"  {int(code)}  {meaning}" for code, meaning in MEANINGS.items())])


def examples_help(*lines: str) -> str:
    """Command lines for the end of a `--help`."""
    return "\n".join(["\b", "Examples:", *(f"  starter.py {line}" for line in lines)])
