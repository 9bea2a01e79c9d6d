"""`request`: like curl for paid data; the content goes to stdout, one line about the payment to stderr."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Annotated

import typer
from rich.text import Text

from autopay.cli.connect.event_loop import run_async
from autopay.cli.request.output import exit_code_of, note_result, print_content
from autopay.cli.terminal.console import ProgressCallback, note, print_json, stderr_console
from autopay.cli.terminal.exit_codes import CommandError, ExitCode, examples_help, exit_codes_help
from autopay.cli.terminal.options import (
    DEFAULT_AGENT,
    HomeOption,
    age_s,
    agent_name,
    amount_atomic,
    complete_currency,
    complete_method,
    currency_of,
    duration_s,
    headers_of,
    http_url,
    json_body,
    method_of,
    request_id,
)
from autopay.client.requests.order import RequestOrder, RequestOutcome
from autopay.client.requests.text import ended_text, next_step, wait_command
from autopay.domain.errors import TransientFault
from autopay.domain.policy.records import ApprovalRecord
from autopay.domain.refusal import RefusalReason
from autopay.domain.request import CLOSED, RequestStatus
from autopay.domain.text.command_line import command_line
from autopay.domain.text.printable import printable
from autopay.domain.text.times import ago
from autopay.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    shown = examples_help(
        "request http://127.0.0.1:8403/api/market-feed",
        "request https://api.example.com/report --agent trader --id report-7 --max-price 0.01 --json",
        "request https://api.example.com/report --agent trader --max-age 5m",
        "request https://api.example.com/ask --json-body '{\"question\": \"fees?\"}' --header 'Accept: text/plain'",
    )
    app.command("request", epilog=f"{shown}\n\n{exit_codes_help()}")(request)


def request(
    url: Annotated[str, typer.Argument(help="The URL of the data.")],
    agent: Annotated[
        str | None, typer.Option(help="The agent that pays.", show_default="'default', made on the embedded stack")
    ] = None,
    key: Annotated[str | None, typer.Option("--id", help="Your idempotency key: the same id never pays twice.")] = None,
    method: Annotated[
        str | None,
        typer.Option(autocompletion=complete_method, help="GET or POST.", show_default="GET, POST with a body"),
    ] = None,
    body: Annotated[str | None, typer.Option("--json-body", help="A JSON text to send, or @file.")] = None,
    header: Annotated[list[str] | None, typer.Option(help="'Name: value'; repeatable.")] = None,
    max_price: Annotated[str | None, typer.Option(help="Pay at most this, in token units: 0.01.")] = None,
    currency: Annotated[
        str | None, typer.Option(autocompletion=complete_currency, help="Pay in this currency only: USDC or CASH.")
    ] = None,
    max_age: Annotated[
        str | None,
        typer.Option(
            help="Accept data that the agent bought up to this long ago: 5m.",
            show_default="the window of its watch, if any",
        ),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Buy it again, even if the agent has fresh data.")] = False,
    timeout: Annotated[str, typer.Option(help="How long to wait for the result.")] = "2m",
    home: HomeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON instead of the content.")] = False,
) -> None:
    """Buy data from a URL and print it.

    An agent pays for it once, within its limits. The same --id never pays again: it prints what was bought, or goes
    on waiting. Data that the agent keeps fresh is not bought again while it is fresh.

    Put secrets into headers or the body: these are encrypted and never shown. The URL, with its query, is recorded in
    clear.
    """
    if fresh and max_age is not None:
        raise typer.BadParameter("buys in any case: leave --max-age out", param_hint="--fresh")
    headers = headers_of(header or [])
    content = None if body is None else json_body(body)
    if content is not None and not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = "application/json"
    chosen = method_of(method or ("GET" if content is None else "POST"))
    if content is not None and chosen == "GET":
        raise typer.BadParameter("a GET has no body: leave --method out, or say POST", param_hint="--method")
    order = RequestOrder(
        agent=agent_name(agent or DEFAULT_AGENT),
        request_id=request_id(key) if key is not None else f"cli-{secrets.token_hex(6)}",
        url=http_url(url),
        method=chosen,
        headers=headers,
        body=content,
        max_price_atomic=None if max_price is None else amount_atomic(max_price),
        currency=None if currency is None else currency_of(currency),
        timeout_s=duration_s(timeout),
        max_age_s=0 if fresh else None if max_age is None else age_s(max_age),
    )
    settings = Settings.load(home=home).resolve()
    try:
        with _spinner() as progress:
            outcome = run_async(_buy(settings, order, progress, may_launch=agent is None))
    except TransientFault as fault:  # the request may be under way all the same
        raise CommandError(f"{fault}; {order.ask_again()}", ExitCode.UNREACHABLE) from None
    except KeyboardInterrupt:
        note(f"interrupted; {order.ask_again()}")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    _show(outcome, order, as_json)
    if outcome.pruned is not None and not as_json:
        raise CommandError(outcome.pruned, ExitCode.FAULT)
    raise typer.Exit(ExitCode.USAGE if outcome.terms_differ else exit_code_of(outcome.result.status))


async def _buy(
    settings: Settings, order: RequestOrder, on_progress: ProgressCallback | None, *, may_launch: bool
) -> RequestOutcome:
    from autopay.client.requests.connections import Connections
    from autopay.client.requests.listener import Listener
    from autopay.client.requests.purchasing import buy

    connections = Connections(settings)
    try:
        before_asking = None
        if may_launch:
            from autopay.cli.request.default_agent import launch_default_agent

            before_asking = partial(launch_default_agent, connections)
        return await buy(connections, order, Listener(_note_approval, on_progress), before_asking)
    finally:
        await connections.close()


@contextmanager
def _spinner() -> Iterator[ProgressCallback | None]:
    """Shows what is waited for, in one line on stderr that is removed at the end; None when stderr is no terminal."""
    console = stderr_console()
    if not console.is_terminal:
        yield None
        return
    with console.status("") as status:
        status.stop()  # until there is something to say: most requests take a second

        def show(text: str) -> None:
            status.update(Text(printable(text)))
            status.start()

        yield show


def _note_approval(approval: ApprovalRecord) -> None:
    approve = command_line("approve", approval.approval_id)
    note(f"waits for approval {approval.approval_id}: {approval.why}; to approve: {approve}", "yellow")


def _show(outcome: RequestOutcome, order: RequestOrder, as_json: bool) -> None:
    before = outcome.ended_before
    if as_json:
        ended = None if before is None or before.ended_at is None else before.ended_at.isoformat()
        print_json(outcome.result.model_dump(mode="json") | {"asked_now": before is None, "ended_at": ended})
        return
    if outcome.terms_differ and outcome.result.error is not None:
        note(f"{order.request_id}: {RefusalReason.TERMS_DIFFER.value}: {outcome.result.error.message}", "yellow")
        note(f"to see that one: {command_line('show', order.request_id, '--agent', order.agent)}")
        return
    print_content(outcome.content.body if outcome.content else None)
    note_result(outcome.result, _fresh_line(outcome))
    if before is not None:
        note(f"{ended_text(before, datetime.now(UTC))}; nothing was asked or paid now; {next_step(before)}")
    elif outcome.result.status not in CLOSED:
        note(f"to wait for its end: {wait_command(order.agent, order.request_id)}")


def _fresh_line(outcome: RequestOutcome) -> str | None:
    """What to say of content that was bought before; None of any other outcome."""
    result = outcome.result
    if result.status is not RequestStatus.FRESH:
        return None
    when = f"{ago(outcome.content_at, datetime.now(UTC))} " if outcome.content_at is not None else ""
    return f"{result.request_id}: fresh: bought {when}as {result.content_of}; --fresh buys it again"
