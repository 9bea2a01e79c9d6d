"""What to do about a request that has ended, or has not yet: sentences with the command to paste. Pure."""

from datetime import datetime

from autopay.cli.terminal.formats import ago, utc
from autopay.domain.money import units_text
from autopay.domain.request import RequestRecord, RequestSpec, RequestStatus
from autopay.domain.text.command_line import command_line


def wait_command(agent: str, request_id: str) -> str:
    """The command that waits for a request's end and prints it."""
    return command_line("show", request_id, "--agent", agent, "--wait")


def try_again(agent: str, spec: RequestSpec, *, fresh: bool = False) -> str:
    """How to make the same request under a new id.

    Headers and a body are sealed: such a request has no command that could be told.
    """
    if spec.sealed_extras is not None or spec.body_hash is not None:
        return "give its command again with another --id, or without one"
    words = ["request", spec.url, "--agent", agent]
    if spec.method != "GET":
        words += ["--method", spec.method]
    if spec.max_price_atomic is not None:
        words += ["--max-price", units_text(spec.max_price_atomic)]
    if spec.currency is not None:
        words += ["--currency", spec.currency.value]
    return command_line(*words, *(["--fresh"] if fresh else []))


def ended_text(record: RequestRecord, now: datetime) -> str:
    """When a request ended."""
    at = record.ended_at
    return "it has ended" if at is None else f"it ended at {utc(at)}, {ago(at, now)}"


def next_step(record: RequestRecord) -> str:
    """What to do about a request, by what became of it."""
    agent, spec = record.agent, record.spec
    match record.result.status:
        case RequestStatus.DELIVERED | RequestStatus.FREE | RequestStatus.FRESH:
            return f"to buy it anew: {try_again(agent, spec, fresh=True)}"
        case RequestStatus.REFUSED | RequestStatus.FAILED:
            return f"to try again: {try_again(agent, spec)}"
        case RequestStatus.UNDELIVERED:
            return f"to ask the seller again, without paying: {retry_command(agent, spec.request_id)}"
        case RequestStatus.WAITING | RequestStatus.UNRESOLVED:
            return f"to wait for its end: {wait_command(agent, spec.request_id)}"


def retry_command(agent: str, request_id: str) -> str:
    """The command that asks a seller once more for what was paid."""
    return command_line("retry", request_id, "--agent", agent)
