"""`show`: one request with its payments, receipts, timeline and content."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autopay.adapters.ledger_changes import ledger_changes
from autopay.cli.connect.connections import ledger_of
from autopay.cli.connect.event_loop import run_async
from autopay.cli.request.output import exit_code_of, print_content
from autopay.cli.terminal.console import note, print_json, print_line
from autopay.cli.terminal.exit_codes import CommandError, examples_help, exit_codes_help
from autopay.cli.terminal.options import HomeOption, JsonOption, RequestIdArgument, agent_name, duration_s, request_id
from autopay.client.requests.event_text import describe_event
from autopay.client.requests.text import next_step, outcome_text
from autopay.domain.errors import ContentPruned, UnknownRequest
from autopay.domain.money import show as show_amount
from autopay.domain.money import units_text
from autopay.domain.payment.exchange import StoredContent
from autopay.domain.report.rows import AttemptRow, RequestDetails
from autopay.domain.request import CLOSED, RequestStatus, x402_request_id
from autopay.domain.text.command_line import command_line
from autopay.domain.text.printable import content_text
from autopay.domain.text.times import utc
from autopay.settings import Settings

if TYPE_CHECKING:
    from autopay.adapters.postgres import PostgresLedger
    from autopay.adapters.postgres.reports.events import LedgerEvent

POLL_S = 0.3
MAX_SHOWN_BYTES = 4_000
"""How much content is printed on the page; `--content` prints all of it."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    shown = examples_help(
        "show report-7", "show report-7 --agent trader --json", "show report-7 --content > report.json"
    )
    app.command("show", epilog=f"{shown}\n\n{exit_codes_help()}")(show)


@dataclass(frozen=True)
class RequestPage:
    """All that is shown of one request; `pruned` says why delivered content is gone."""

    details: RequestDetails
    events: Sequence[LedgerEvent]
    content: StoredContent | None
    pruned: str | None


def show(
    request: RequestIdArgument,
    agent: Annotated[str | None, typer.Option(help="Its agent.", show_default="the one with such a request")] = None,
    only_content: Annotated[bool, typer.Option("--content", help="Print only what was bought, byte for byte.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it has ended.")] = False,
    timeout: Annotated[str, typer.Option(help="How long to wait.")] = "2m",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one request with its payments, timeline and content.

    Nothing is asked or paid. Ends with the exit code of the request's status.
    """
    if only_content and as_json:
        raise typer.BadParameter("give --content or --json, not both")
    name = None if agent is None else agent_name(agent)
    wanted, timeout_s = request_id(request), duration_s(timeout)
    settings = Settings.load(home=home).resolve("database_url")
    page = run_async(_page(settings, name, wanted, timeout_s if wait else 0))
    if as_json:
        print_json(_json(page))
    elif only_content:
        if page.pruned is not None:
            raise CommandError(page.pruned)
        print_content(page.content.body if page.content else None)
        note(f"{wanted}: {outcome_text(page.details.record.result)}")
    else:
        for line in page_lines(page):
            print_line(line)
        note(next_step(page.details.record))
    raise typer.Exit(exit_code_of(page.details.record.result.status))


async def _page(settings: Settings, agent: str | None, wanted: str, timeout_s: float) -> RequestPage:
    deadline = time.monotonic() + timeout_s
    async with ledger_of(settings) as ledger:
        key = x402_request_id(agent or await _owner(ledger, wanted), wanted)
        try:
            details = await ledger.reports.request(key)
            if details.record.result.status not in CLOSED and time.monotonic() < deadline:
                details = await _at_its_end(ledger, key, deadline)
        except UnknownRequest:
            see = command_line("ledger", "show", "--kind", "all")
            raise CommandError(f"agent {agent!r} has no request {wanted!r}; see: {see}") from None
        events = await ledger.events.of_request(key)
        try:
            stored = await ledger.requests.content(key)
        except ContentPruned as gone:
            return RequestPage(details, events, None, str(gone))
    return RequestPage(details, events, stored, None)


async def _at_its_end(ledger: PostgresLedger, key: str, deadline: float) -> RequestDetails:
    """The request when it has ended, or as it is at the deadline."""
    async with ledger_changes(ledger.events.listening) as changes:
        while True:
            details = await ledger.reports.request(key)
            left_s = deadline - time.monotonic()
            if details.record.result.status in CLOSED or left_s <= 0:
                return details
            await changes.wait(min(POLL_S, left_s))


async def _owner(ledger: PostgresLedger, wanted: str) -> str:
    owners = await ledger.reports.owners(wanted)
    if not owners:
        see = command_line("ledger", "show", "--kind", "all")
        raise CommandError(f"there is no request {wanted!r}; see: {see}")
    if len(owners) > 1:
        raise CommandError(f"several agents have a request {wanted!r}: say --agent {' or --agent '.join(owners)}")
    return owners[0]


def page_lines(page: RequestPage) -> Iterator[str]:
    """The request, for people."""
    details = page.details
    record, result = details.record, details.record.result
    yield f"{record.spec.request_id} of agent {record.agent}: {outcome_text(result)}"
    yield f"  for        {record.spec.method} {record.spec.url}"
    yield f"  limits     {_limits(details)}"
    yield f"  asked      {utc(details.asked_at)}"
    yield f"  ended      {utc(record.ended_at) if result.status in CLOSED else 'not yet'}"
    yield f"  workflow   {result.workflow_id}"
    for attempt in details.attempts:
        yield from _attempt_lines(attempt)
    yield from _timeline(page.events)
    yield from _content_lines(page)


def _limits(details: RequestDetails) -> str:
    spec = details.record.spec
    most = "any price" if spec.max_price_atomic is None else f"at most {units_text(spec.max_price_atomic)}"
    return f"{most}, in {spec.currency.value if spec.currency else 'any currency'}"


def _attempt_lines(attempt: AttemptRow) -> Iterator[str]:
    why = f" {attempt.error_code}" if attempt.error_code else ""
    yield f"payment {attempt.number}: {attempt.status}{why}, {show_amount(attempt.amount_atomic, attempt.currency)}"
    yield f"  to         {attempt.pay_to} ({attempt.network.value})"
    yield f"  signed     {utc(attempt.created_at)}"
    yield f"  sent       {attempt.sends} times, last answer: {attempt.last_answer or 'none'}"
    yield f"  on chain   {attempt.transaction or 'no transaction'}"
    if attempt.receipt is not None:
        said = ", ".join(f"{name} {value}" for name, value in attempt.receipt.items())
        yield f"  receipt    {said}"


def _timeline(events: Sequence[LedgerEvent]) -> Iterator[str]:
    yield "timeline (UTC)"
    for event in events:
        what = "approval " if event.kind.startswith("approvals.") else ""
        yield f"  {event.at:%F %T.%f}"[:-3] + f"  {what}{describe_event(event)}"


def _content_lines(page: RequestPage) -> Iterator[str]:
    """What was bought; of a FRESH request, that of the request which bought it."""
    kept, result = page.details.content, page.details.record.result
    if page.pruned is not None:
        yield f"content: {page.pruned}"
        return
    if page.content is None:
        yield "content: none"
        return
    source = f", bought by request {result.content_of}" if result.status is RequestStatus.FRESH else ""
    yield f"content: {page.content.content_type}, {len(page.content.body)} bytes{source}"
    if not page.content.complete:
        yield "  incomplete its end is missing"
    if page.content.encoding is not None:
        yield f"  encoding   {page.content.encoding}, which could not be undone: these are the bytes that came"
    if kept is not None:
        yield f"  sha256     {kept.sha256}"
        yield f"  came       {utc(kept.came_at)}"
    yield from _shown_content(page)


def _shown_content(page: RequestPage) -> Iterator[str]:
    content, record = page.content.body if page.content else b"", page.details.record
    text = content_text(content[:MAX_SHOWN_BYTES])
    if text is not None and content:
        yield ""
        yield text.rstrip("\n")
    if text is None or len(content) > MAX_SHOWN_BYTES:
        why = "not text" if text is None else f"{len(content) - MAX_SHOWN_BYTES} bytes more"
        everything = command_line("show", record.spec.request_id, "--agent", record.agent, "--content")
        yield f"  ({why}; all of it: {everything})"


def _json(page: RequestPage) -> dict[str, Any]:
    """The request for programs; content as text when it is text, else in base64."""
    details = page.details
    body = None if page.content is None else page.content.body
    text = None if body is None else content_text(body)
    kept = None if details.content is None else details.content.model_dump(mode="json")
    return {
        **details.record.result.model_dump(mode="json"),
        "agent": details.record.agent,
        "url": details.record.spec.url,
        "method": details.record.spec.method,
        "asked_at": details.asked_at.isoformat(),
        "ended_at": details.record.ended_at and details.record.ended_at.isoformat(),
        "payments": [_attempt_json(attempt) for attempt in details.attempts],
        "timeline": [
            {"at": event.at.isoformat(), "kind": event.kind, "text": describe_event(event), "values": event.values}
            for event in page.events
        ],
        "content": kept,
        "content_text": text,
        "content_base64": None if body is None or text is not None else b64encode(body).decode(),
    }


def _attempt_json(attempt: AttemptRow) -> dict[str, Any]:
    values = attempt.model_dump(mode="json")
    return values | {"amount": units_text(values.pop("amount_atomic"))}
