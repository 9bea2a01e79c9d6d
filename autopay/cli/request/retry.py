"""`retry`: asks a seller once more for what was paid and is undelivered; never pays."""

from typing import Annotated

import typer

from autopay.cli.connect.event_loop import run_async
from autopay.cli.request.output import exit_code_of, note_result, print_content
from autopay.cli.terminal.console import print_json
from autopay.cli.terminal.exit_codes import examples_help, exit_codes_help
from autopay.cli.terminal.options import HomeOption, JsonOption, agent_name, duration_s, request_id
from autopay.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    shown = examples_help("retry report-7 --agent trader", "retry report-7 --json")
    app.command("retry", epilog=f"{shown}\n\n{exit_codes_help()}")(retry)


def retry(
    request: Annotated[str, typer.Argument(metavar="REQUEST_ID", help="The request; see `ledger disputes`.")],
    agent: Annotated[
        str | None, typer.Option(help="Its agent.", show_default="the one with such a dispute, or 'default'")
    ] = None,
    timeout: Annotated[str, typer.Option(help="How long to wait for the seller.")] = "3m",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask the seller once more for what was paid, and print it.

    For undelivered requests. The recorded payment is sent again, byte for byte. It is final on chain already, so
    nothing is paid again.
    """
    name = None if agent is None else agent_name(agent)
    wanted, timeout_s = request_id(request), duration_s(timeout)
    settings = Settings.load(home=home).resolve("database_url")
    from autopay.cli.request.retry_steps import ask_again

    outcome = run_async(ask_again(settings, name, wanted, timeout_s))
    if as_json:
        print_json(outcome.result)
    else:
        print_content(outcome.content.body if outcome.content else None)
        note_result(outcome.result)
    raise typer.Exit(exit_code_of(outcome.result.status))
