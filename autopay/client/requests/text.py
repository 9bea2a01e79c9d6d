"""A request in words: what became of it, and what to do about it, with the command to paste. Pure."""

from datetime import datetime

from autopay.domain.money import units_text
from autopay.domain.request import RequestRecord, RequestResult, RequestSpec, RequestStatus
from autopay.domain.text.command_line import command_line
from autopay.domain.text.times import ago, utc


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
