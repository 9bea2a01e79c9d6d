"""`request`: like curl for paid data; the content to stdout, the receipt to stderr."""

import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.text import Text

from autopay.cli.connect.console import note, print_json, printable, stderr_console
from autopay.cli.connect.exit_codes import CommandError, ExitCode, examples_help, exit_code_of, exit_codes_help
from autopay.cli.connect.formats import ago
from autopay.cli.connect.invocation import HomeOption, run_async
from autopay.cli.connect.options import (
    agent_name,
    amount_atomic,
    currency_of,
    duration_s,
    headers_of,
    http_url,
    json_body,
    method_of,
    request_id,
    whole_seconds,
)
from autopay.cli.request.request_steps import RequestOrder, RequestOutcome, Tell, ask
from autopay.domain.errors import TransientFault
from autopay.domain.money import units_text
from autopay.domain.policy.records import ApprovalRecord
from autopay.domain.request import CLOSED, RequestResult, RequestStatus
from autopay.settings import Settings

DEFAULT_AGENT = "default"


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
    url: Annotated[str, typer.Argument(help="What to ask for.")],
    agent: Annotated[
        str | None, typer.Option(help="Who asks and pays; on the embedded stack one called 'default' is made.")
    ] = None,
    key: Annotated[str | None, typer.Option("--id", help="Your idempotency key: the same id never pays twice.")] = None,
    method: Annotated[str | None, typer.Option(help="GET or POST.", show_default="GET, POST with a body")] = None,
    body: Annotated[str | None, typer.Option("--json-body", help="A JSON text to send, or @file.")] = None,
    header: Annotated[list[str] | None, typer.Option(help="'Name: value'; repeatable.")] = None,
    max_price: Annotated[str | None, typer.Option(help="Pay at most so much, in token units: 0.01.")] = None,
    currency: Annotated[str | None, typer.Option(help="Pay in this one only: USDC or CASH.")] = None,
    max_age: Annotated[
        str | None,
        typer.Option(
            help="What the agent bought before is good for so long: 5m.", show_default="the window of its watch, if any"
        ),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Buy it anew, whatever is there.")] = False,
    timeout: Annotated[str, typer.Option(help="How long to wait for the end of it.")] = "2m",
    home: HomeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON instead of the content.")] = False,
) -> None:
    """Buy data from a URL and print it.

    An agent pays for it, within its limits and once. The same --id again never pays again: it prints what was
    bought, or goes on waiting. Data that the agent keeps fresh is not bought again while it is.

    Headers and body are sealed and never shown: secrets belong there. The URL, with its query, is recorded in clear.
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
        launch_when_missing=agent is None,
        request_id=request_id(key) if key is not None else f"cli-{secrets.token_hex(6)}",
        url=http_url(url),
        method=chosen,
        headers=headers,
        body=content,
        max_price_atomic=None if max_price is None else amount_atomic(max_price),
        currency=None if currency is None else currency_of(currency),
        timeout_s=duration_s(timeout),
        max_age_s=0 if fresh else None if max_age is None else whole_seconds(max_age),
    )
    settings = Settings.load(home=home).resolve()
    try:
        with _spinner() as progress:
            answer = run_async(ask(settings, order, Tell(_tell_question, progress)))
    except TransientFault as fault:  # the request may be under way all the same
        again = f"ask again with: --agent {order.agent} --id {order.request_id}"
        raise CommandError(f"{fault}; {again}", ExitCode.UNREACHABLE) from None
    except KeyboardInterrupt:
        note(f"interrupted; ask again with --agent {order.agent} --id {order.request_id}")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    _show(answer, order, as_json)
    if answer.pruned is not None and not as_json:
        raise CommandError(f"{answer.pruned}; to buy it anew, ask with another --id", ExitCode.FAULT)
    raise typer.Exit(exit_code_of(answer.result.status))


@contextmanager
def _spinner() -> Iterator[Callable[[str], None] | None]:
    """Shows what is waited for, in one line on stderr that goes again; nothing where no terminal reads."""
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


def _tell_question(question: ApprovalRecord) -> None:
    note(
        f"waits for approval {question.approval_id}: {question.why}; starter.py approve {question.approval_id}",
        "yellow",
    )


def _show(answer: RequestOutcome, order: RequestOrder, as_json: bool) -> None:
    if as_json:
        print_json(answer.result)
        return
    if answer.content is not None:
        sys.stdout.flush()
        sys.stdout.buffer.write(answer.content)
        if sys.stdout.isatty() and not answer.content.endswith(b"\n"):
            sys.stdout.buffer.write(b"\n")
        sys.stdout.buffer.flush()
    good = exit_code_of(answer.result.status) is ExitCode.OK
    note(_summary(answer), "green" if good else "yellow")
    if answer.result.status not in CLOSED:
        note(f"ask again with: --agent {order.agent} --id {order.request_id}")


def _summary(answer: RequestOutcome) -> str:
    result = answer.result
    if result.status is not RequestStatus.FRESH:
        return result_line(result)
    when = f"{ago(answer.content_at, datetime.now(UTC))} " if answer.content_at is not None else ""
    return f"{result.request_id}: fresh: bought {when}as {result.content_of}; --fresh buys anew"


def result_line(result: RequestResult) -> str:
    """What became of a request, in one line."""
    parts = [f"{result.request_id}: {result.status.value}"]
    if result.price_atomic is not None and result.currency is not None:
        verb = "paid" if result.transaction else "price"
        parts.append(f"{verb} {units_text(result.price_atomic)} {result.currency.value}")
    if result.pay_to:
        parts.append(f"to {result.pay_to}")
    if result.transaction:
        parts.append(f"transaction {result.transaction}")
    if result.http_status is not None and result.status is not RequestStatus.DELIVERED:
        parts.append(f"HTTP {result.http_status}")
    if result.error is not None:
        parts.append(f"{result.error.type}: {result.error.message}")
    return ", ".join(parts)
