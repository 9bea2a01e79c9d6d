"""`cancel`: ends a request that waits or is under way, without losing a payment that has left."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from autopay.cli.connect.agent_errors import AgentNotRunning, temporal_error
from autopay.cli.connect.connections import known_agent, ledger_of, temporal_of
from autopay.cli.connect.event_loop import run_async
from autopay.cli.connect.ledger_changes import ledger_changes
from autopay.cli.request.output import exit_code_of, result_line
from autopay.cli.terminal.console import note, print_line
from autopay.cli.terminal.exit_codes import CommandError, ExitCode, examples_help
from autopay.cli.terminal.options import AgentArgument, HomeOption, agent_name, duration_s, request_id
from autopay.domain.errors import UnknownRequest
from autopay.domain.request import CLOSED, RequestResult, payment_workflow_id, x402_request_id
from autopay.domain.text.command_line import command_line
from autopay.settings import Settings

if TYPE_CHECKING:
    from temporalio.client import Client

    from autopay.adapters.postgres import PostgresLedger

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
    from autopay.cli.connect.agent_handle import AgentHandle

    key = x402_request_id(name, wanted)
    async with ledger_of(settings) as ledger:
        await known_agent(ledger, name)
        await _require_open(ledger, name, wanted)
        client = await temporal_of(settings, ledger)
        try:
            await AgentHandle(client, name, settings.task_queue).signal("cancel", wanted)
        except AgentNotRunning:
            await _cancel_payment(client, name, wanted)
        deadline = time.monotonic() + timeout_s
        async with ledger_changes(ledger) as changes:
            while True:
                result = await ledger.requests.result(key)
                if result.status in CLOSED or time.monotonic() > deadline:
                    return result
                await changes.wait(POLL_S)


async def _require_open(ledger: PostgresLedger, name: str, wanted: str) -> None:
    try:
        record = await ledger.requests.get(x402_request_id(name, wanted))
    except UnknownRequest:
        raise CommandError(f"agent {name!r} has no request {wanted!r}; see: {command_line('queue', name)}") from None
    if record.closed:
        raise CommandError(f"request {wanted!r} of agent {name!r} has ended: {result_line(record.result)}")


async def _cancel_payment(client: Client, name: str, wanted: str) -> None:
    """Cancel the payment's own workflow, which goes on when its agent has ended."""
    from temporalio.service import RPCError, RPCStatusCode

    try:
        await client.get_workflow_handle(payment_workflow_id(name, wanted)).cancel()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise temporal_error(error) from None
        raise CommandError(f"{AgentNotRunning(name)}; until then {wanted!r} waits in its queue") from None
