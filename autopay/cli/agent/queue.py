"""`queue`: the requests that wait in an agent's queue."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import typer

from autopay.cli.connect.connections import agent_handle, known_agent, ledger_of
from autopay.cli.connect.event_loop import run_async
from autopay.cli.terminal.console import note, print_json, print_line
from autopay.cli.terminal.exit_codes import examples_help
from autopay.cli.terminal.options import AgentArgument, HomeOption, JsonOption, agent_name
from autopay.cli.terminal.tables import print_table
from autopay.domain.agent.state.priority import score_at, sort_key
from autopay.domain.agent.status import AgentStatus
from autopay.domain.agent.steps import QueuedRequest
from autopay.domain.money import show
from autopay.domain.text.command_line import command_line
from autopay.domain.text.times import ago
from autopay.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("queue", epilog=examples_help("queue trader", "queue trader --json"))(queue)


def queue(name: AgentArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the requests in an agent's queue, next first.

    Higher scores go first, and waiting adds a point a minute. An agent that does not run goes on with its queue when
    it is launched again.
    """
    now = datetime.now(UTC)
    waiting, status = run_async(_queue(Settings.load(home=home), agent_name(name)))
    waits = {each.request_id: each.waits for each in status.next} if status is not None else {}
    if as_json:
        print_json([_json(each, waits.get(each.request_id), now) for each in waiting])
        return
    if waiting:
        columns = ("", "request", "score", "queued", "at most", "for", "waits for")
        print_table(columns, (_cells(at, each, waits, now) for at, each in enumerate(waiting, 1)))
    else:
        print_line(f"nothing waits in the queue of {name}")
    if status is None:
        note(f"agent {name} does not run: {command_line('launch', name)}", "yellow")
    elif status.reason is not None:
        note(f"agent {name} is {status.state.value}: {status.reason}", "yellow")


async def _queue(settings: Settings, name: str) -> tuple[Sequence[QueuedRequest], AgentStatus | None]:
    """The queue and the status of the agent; of one that does not run, the ledger's queue and None."""
    agent = await agent_handle(settings, name)
    if await agent.is_running():
        waiting, status = await asyncio.gather(agent.queue(), agent.status())
        return waiting, status
    async with ledger_of(settings.resolve("database_url")) as ledger:
        await known_agent(ledger, name)
        backlog = (await ledger.requests.backlog(name)).queue
    return sorted(backlog, key=lambda each: sort_key(each.score, each.queued_at)), None


def _json(each: QueuedRequest, waits: str | None, now: datetime) -> dict[str, Any]:
    more = {"score_now": round(score_at(each.score, each.queued_at, now), 1), "waits": waits}
    return each.model_dump(mode="json") | more


def _cells(at: int, each: QueuedRequest, waits: dict[str, str | None], now: datetime) -> Sequence[object]:
    most = "" if each.max_price_atomic is None else show(each.max_price_atomic, each.currency or "").strip()
    score = f"{score_at(each.score, each.queued_at, now):.1f}"
    what = f"{each.method} {each.url}"
    return at, each.request_id, score, ago(each.queued_at, now), most, what, waits.get(each.request_id) or "its turn"
