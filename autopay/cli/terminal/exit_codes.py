"""How a command ends: exit codes, the exception that ends one with a message, and the texts at the end of a --help."""

from enum import IntEnum

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
    ExitCode.USAGE: "wrong arguments or settings, no such agent, or an --id that other terms belong to",
    ExitCode.REFUSED: "refused: by policy, terms or a person; nothing was paid",
    ExitCode.FAILED: "failed: no content, and it is proven that nothing was paid",
    ExitCode.UNDELIVERED: "undelivered: paid, and the seller did not deliver",
    ExitCode.UNREACHABLE: "Temporal, the database, the chain or the agent does not answer",
    ExitCode.UNFINISHED: "waiting or unresolved: ask again with the same --id",
}


class CommandError(Exception):
    """Ends a command with one line on stderr and an exit code; never a traceback."""

    def __init__(self, message: str, code: ExitCode = ExitCode.USAGE) -> None:
        super().__init__(message)
        self.code = code


def exit_codes_help() -> str:
    """The codes and their meanings, for the end of a `--help`; `\b` keeps typer from joining the lines."""
    return "\n".join(["\b", "Exit codes:", *(f"  {int(code)}  {meaning}" for code, meaning in MEANINGS.items())])


def examples_help(*lines: str) -> str:
    """Command lines for the end of a `--help`."""
    return "\n".join(["\b", "Examples:", *(f"  {CALL.get().program} {line}" for line in lines)])
