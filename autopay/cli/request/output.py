"""How the end of a request is printed: its content to stdout, one line about it to stderr."""

import sys

from autopay.cli.terminal.console import note
from autopay.cli.terminal.exit_codes import ExitCode
from autopay.client.requests.text import result_line
from autopay.domain.request import RequestResult, RequestStatus


def print_content(content: bytes | None) -> None:
    """Write content to stdout, byte for byte; in a terminal its last line is ended."""
    if content is None:
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(content)
    if sys.stdout.isatty() and not content.endswith(b"\n"):
        sys.stdout.buffer.write(b"\n")
    sys.stdout.buffer.flush()


def note_result(result: RequestResult, text: str | None = None) -> None:
    """A note with the result's line, or that text, in the colour of its status."""
    is_good = exit_code_of(result.status) is ExitCode.OK
    note(text or result_line(result), "green" if is_good else "yellow")


def exit_code_of(status: RequestStatus) -> ExitCode:
    """The exit code of a request's status."""
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
