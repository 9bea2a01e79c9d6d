"""`queue` and `cancel`: what waits for an agent's attention, and taking a request back."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from autopay.adapters.postgres import PostgresLedger
from autopay.cli.agent.pause_resume_stop import Name, not_running
from autopay.cli.connect.agent_handle import AgentHandle, AgentNotRunning
from autopay.cli.connect.connections import known_agent, ledger_of
from autopay.cli.connect.console import note, print_json, print_line, print_table
from autopay.cli.connect.exit_codes import CommandError, ExitCode, examples_help, exit_code_of
from autopay.cli.connect.formats import ago
from autopay.cli.connect.invocation import HomeOption, JsonOption, run_async
from autopay.cli.connect.options import agent_name, duration_s, request_id
from autopay.cli.request.request import result_line
from autopay.domain.agent.priority import place, standing
from autopay.domain.agent.status import AgentStatus
from autopay.domain.agent.steps import QueuedRequest
from autopay.domain.errors import UnknownRequest
from autopay.domain.money import show
from autopay.domain.request import CLOSED, RequestResult, payment_workflow_id, x402_request_id
from autopay.settings import Settings
from autopay.temporal.connection import connect

POLL_S = 0.3


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("queue", epilog=examples_help("queue trader", "queue trader --json"))(queue)
    app.command("cancel", epilog=examples_help("cancel trader report-7", "cancel trader report-7 --wait"))(cancel)


def queue(name: Name, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the requests that wait in an agent's queue, next first.

    Higher scores go first, and waiting adds a point a minute. Of an agent that does not run, the ledger's queue is
    shown: it goes on with that when it is launched again.
    """
    now = datetime.now(UTC)
    waiting, status = run_async(_queue(Settings.load(home=home), agent_name(name)))
    waits = {each.request_id: each.waits for each in status.next} if status is not None else {}
    if as_json:
        print_json([_facts(each, waits.get(each.request_id), now) for each in waiting])
        return
    if waiting:
        columns = ("", "request", "score", "queued", "at most", "for", "waits for")
        print_table(columns, (_cells(at, each, waits, now) for at, each in enumerate(waiting, 1)))
    else:
        print_line(f"nothing waits in the queue of {name}")
    if status is None:
        note(f"agent {name} does not run: starter.py launch {name}", "yellow")
    elif status.reason is not None:
        note(f"agent {name} is {status.state.value}: {status.reason}", "yellow")


async def _queue(settings: Settings, name: str) -> tuple[Sequence[QueuedRequest], AgentStatus | None]:
    """What waits, and the agent's word on it; without one, the ledger's."""
    settings = settings.resolve("home")
    calls = AgentHandle(await connect(settings), name, settings.task_queue)
    if await calls.is_running():
        waiting, status = await asyncio.gather(calls.queue(), calls.status())
        return waiting, status
    async with ledger_of(settings.resolve("database_url")) as ledger:
        await known_agent(ledger, name)
        backlog = (await ledger.requests.backlog(name)).queue
    return sorted(backlog, key=lambda each: place(each.score, each.queued_at)), None


def _facts(each: QueuedRequest, waits: str | None, now: datetime) -> dict[str, Any]:
    more = {"score_now": round(standing(each.score, each.queued_at, now), 1), "waits": waits}
    return each.model_dump(mode="json") | more


def _cells(at: int, each: QueuedRequest, waits: dict[str, str | None], now: datetime) -> Sequence[object]:
    most = "" if each.max_price_atomic is None else show(each.max_price_atomic, each.currency or "").strip()
    score = f"{standing(each.score, each.queued_at, now):.1f}"
    what = f"{each.method} {each.url}"
    return at, each.request_id, score, ago(each.queued_at, now), most, what, waits.get(each.request_id) or "its turn"


def cancel(
    name: Name,
    request: Annotated[str, typer.Argument(metavar="REQUEST_ID", help="Which request; see `queue` and `status`.")],
    wait: Annotated[bool, typer.Option("--wait", help="Return when the request has ended, and say how.")] = False,
    timeout: Annotated[str, typer.Option(help="How long to wait.")] = "2m",
    home: HomeOption = None,
) -> None:
    """Cancel a request: one that waits never starts, one under way pays nothing more than it has signed.

    A payment that has left is never dropped: its outcome is waited for, and booked, before the request ends.
    """
    wanted, timeout_s = request_id(request), duration_s(timeout)
    settings = Settings.load(home=home).resolve("database_url")
    result = run_async(_cancel(settings, agent_name(name), wanted, timeout_s if wait else 0))
    if not wait:
        note(f"{wanted} is canceled; what is signed already is resolved first", "green")
        return
    print_line(result_line(result))
    # A request that was canceled is refused: that is what was asked for here.
    raise typer.Exit(ExitCode.OK if result.status in CLOSED else exit_code_of(result.status))


async def _cancel(settings: Settings, name: str, wanted: str, timeout_s: float) -> RequestResult:
    key = x402_request_id(name, wanted)
    async with ledger_of(settings) as ledger:
        await known_agent(ledger, name)
        await _require_open(ledger, name, wanted)
        client = await connect(settings)
        try:
            await AgentHandle(client, name, settings.task_queue).signal("cancel", wanted)
        except AgentNotRunning:
            await _cancel_payment(client, name, wanted)
        deadline = time.monotonic() + timeout_s
        while True:
            result = await ledger.requests.result(key)
            if result.status in CLOSED or time.monotonic() > deadline:
                return result
            await asyncio.sleep(POLL_S)


async def _require_open(ledger: PostgresLedger, name: str, wanted: str) -> None:
    try:
        record = await ledger.requests.get(x402_request_id(name, wanted))
    except UnknownRequest:
        raise CommandError(f"agent {name!r} has no request {wanted!r}: see `starter.py queue {name}`") from None
    if record.closed:
        raise CommandError(f"request {wanted!r} of agent {name!r} has ended: {result_line(record.result)}")


async def _cancel_payment(client: Client, name: str, wanted: str) -> None:
    """The agent has ended: a payment that goes on without it is told itself."""
    try:
        await client.get_workflow_handle(payment_workflow_id(name, wanted)).cancel()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise CommandError(f"Temporal answers with an error: {error.message}", ExitCode.UNREACHABLE) from None
        raise CommandError(f"{not_running(name)}; until then {wanted!r} waits in its queue") from None
