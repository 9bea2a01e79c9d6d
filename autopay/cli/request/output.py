"""How the end of a request is printed: its content to stdout, one line about it to stderr."""

import codecs
import sys

from autopay.cli.terminal.console import note, printable
from autopay.cli.terminal.exit_codes import ExitCode
from autopay.domain.money import units_text
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


def result_line(result: RequestResult) -> str:
    """What became of a request, in one line."""
    return f"{result.request_id}: {outcome_text(result)}"


def outcome_text(result: RequestResult) -> str:
    """What became of a request, without its name."""
    parts: list[str] = [result.status.value]
    if result.price_atomic is not None and result.currency is not None:
        verb = "paid" if result.transaction else "price"
        parts.append(f"{verb} {units_text(result.price_atomic)} {result.currency.value}")
    if result.pay_to:
        parts.append(f"to {result.pay_to}")
    if result.transaction:
        parts.append(f"transaction {result.transaction}")
    if result.http_status is not None and result.status is not RequestStatus.DELIVERED:
        parts.append(f"HTTP {result.http_status}")
    if result.content_complete is False:
        parts.append("the end of the content is missing")
    if result.content_encoding is not None:
        parts.append(f"the content is still encoded ({result.content_encoding})")
    if result.content_location is not None:
        parts.append(f"the seller says that the content is at {result.content_location}")
    if result.error is not None:
        parts.append(f"{result.error.type}: {result.error.message}")
    return ", ".join(parts)


def content_text(content: bytes) -> str | None:
    """Content as text, when it is UTF-8 that a terminal can show; a character cut at the end is left out."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(content)
    except UnicodeDecodeError:
        return None
    return text if printable(text.replace("\r", "")) == text.replace("\r", "") else None


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
