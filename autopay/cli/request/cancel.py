"""`cancel`: ends a request that waits or is under way, without losing a payment that has left."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from autopay.adapters.ledger_changes import ledger_changes
from autopay.cli.connect.connections import known_agent, ledger_of, temporal_of
from autopay.cli.connect.event_loop import run_async
from autopay.cli.connect.ordering import ordered_by_command
from autopay.cli.request.output import exit_code_of
from autopay.cli.terminal.console import note, print_line
from autopay.cli.terminal.exit_codes import ExitCode, examples_help
from autopay.cli.terminal.options import AgentArgument, HomeOption, agent_name, duration_s, request_id
from autopay.client.requests.text import result_line
from autopay.domain.request import CLOSED, RequestResult, x402_request_id
from autopay.settings import Settings

if TYPE_CHECKING:
    pass

POLL_S = 0.3


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("cancel", epilog=examples_help("cancel trader report-7", "cancel trader report-7 --wait"))(cancel)


def cancel(
    name: AgentArgument,
    request: Annotated[str, typer.Argument(metavar="REQUEST_ID", help="Which request; see `queue` and `status`.")],
    wait: Annotated[bool, typer.Option("--wait", help="Return when the request has ended, and say how.")] = False,
    timeout: Annotated[str, typer.Option(help="How long to wait.")] = "2m",
    home: HomeOption = None,
) -> None:
    """Cancel a request: nothing more is signed for it.

    A payment that is signed already is never dropped: the request ends when it is final or failed.
    """
    wanted, timeout_s = request_id(request), duration_s(timeout)
    settings = Settings.load(home=home).resolve("database_url")
    result = run_async(_cancel(settings, agent_name(name), wanted, timeout_s if wait else 0))
    if not wait:
        note(f"{wanted} is canceled; a payment that is signed already becomes final or failed first", "green")
        return
    print_line(result_line(result))
    # A request that was canceled is refused: that is what was asked for here.
    raise typer.Exit(ExitCode.OK if result.status in CLOSED else exit_code_of(result.status))


async def _cancel(settings: Settings, name: str, wanted: str, timeout_s: float) -> RequestResult:
    from autopay.client.agents.handle import AgentHandle
    from autopay.client.requests.cancellation import cancel_request, require_open

    key = x402_request_id(name, wanted)
    async with ledger_of(settings) as ledger:
        await known_agent(ledger, name)
        await require_open(ledger, name, wanted)
        client = await temporal_of(settings, ledger)
        async with ordered_by_command(ledger, "cancel", agent=name, target=wanted):
            await cancel_request(client, AgentHandle(client, name, settings.task_queue), wanted)
        deadline = time.monotonic() + timeout_s
        async with ledger_changes(ledger.events.listening) as changes:
            while True:
                result = await ledger.requests.result(key)
                if result.status in CLOSED or time.monotonic() > deadline:
                    return result
                await changes.wait(POLL_S)
