"""`pause`, `resume`, `stop`, `status` and `agents`: what runs, and telling it to wait or end."""

import asyncio
from typing import Annotated

import typer
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError

from autopay.cli.agent_calls import AgentCalls, AgentNotRunning
from autopay.cli.console import printable, say, say_result, show_json, show_table
from autopay.cli.exits import CommandError, examples
from autopay.cli.options import agent_name
from autopay.cli.places import HomeOption, JsonOption, ledger_of, run_async
from autopay.domain.agent import AgentStatus
from autopay.domain.money import show
from autopay.domain.request import agent_workflow_id
from autopay.settings import Settings, SettingsError
from autopay.temporal import TemporalUnreachable, connect
from workflows.attributes import STATE

Name = Annotated[str, typer.Argument(help="The agent's name.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("agents", epilog=examples("agents", "agents --json"))(agents)
    app.command("status", epilog=examples("status trader", "status trader --json"))(status)
    app.command("pause", epilog=examples('pause trader --reason "waiting for the audit"'))(pause)
    app.command("resume", epilog=examples("resume trader"))(resume)
    app.command("stop", epilog=examples("stop trader", "stop trader --wait"))(stop)


def pause(
    name: Name,
    reason: Annotated[str | None, typer.Option(help="Shown in its status and in the Temporal UI.")] = None,
    home: HomeOption = None,
) -> None:
    """Let an agent buy nothing new.

    What is in flight finishes, and what waits is kept.
    """
    run_async(_signal(Settings.load(home=home), name, "pause", reason))
    say(f"agent {name} pauses", "green")


def resume(name: Name, home: HomeOption = None) -> None:
    """Let a paused agent go on."""
    run_async(_signal(Settings.load(home=home), name, "resume"))
    say(f"agent {name} goes on", "green")


def stop(
    name: Name,
    wait: Annotated[bool, typer.Option("--wait", help="Return when what is in flight has settled.")] = False,
    home: HomeOption = None,
) -> None:
    """End an agent, once what is in flight has settled.

    What waits stays in its queue; `launch` starts it again.
    """
    run_async(_signal(Settings.load(home=home), name, "stop", wait=wait))
    say(f"agent {name} {'has stopped' if wait else 'stops'}", "green")


async def _signal(settings: Settings, name: str, signal: str, *arguments: str | None, wait: bool = False) -> None:
    calls = await _calls(settings, name)
    try:
        await calls.signal(signal, *arguments)
        if wait:
            await calls.wait_until_stopped()
    except AgentNotRunning:
        raise _not_running(name) from None


async def _calls(settings: Settings, name: str) -> AgentCalls:
    settings = settings.resolve("home")
    return AgentCalls(await connect(settings), agent_name(name), settings.task_queue)


def _not_running(name: str) -> CommandError:
    return CommandError(f"no agent {name!r} runs: see `starter.py agents`, or `starter.py launch {name}`")


def status(name: Name, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show what an agent is doing, and why.

    Its state, its money, its queue and its last payments.
    """
    found = run_async(_status(Settings.load(home=home), name))
    if as_json:
        show_json(found)
    else:
        _show_status(found)


async def _status(settings: Settings, name: str) -> AgentStatus:
    try:
        return await (await _calls(settings, name)).status()
    except AgentNotRunning:
        raise _not_running(name) from None


def _show_status(found: AgentStatus) -> None:
    why = f": {found.reason}" if found.reason and found.reason != found.state.value else ""
    say_result(f"{found.name} is {found.state.value}{why} (phase {found.phase.value})")
    say_result(
        f"payments {found.payments}: {found.delivered} delivered, {found.undelivered} undelivered, "
        f"{found.failed} failed, {found.refused} refused"
    )
    spent = ", ".join(show(amount, currency) for currency, amount in found.spent_atomic.items())
    say_result(f"spent {spent or 'nothing'}")
    for money in found.spendable:
        problem = f": {money.session_problem}" if money.session_problem else f", by its {money.limit}"
        say_result(f"can spend {show(money.spendable_atomic, money.currency)}{problem}")
    say_result(f"in flight {len(found.in_flight)}, waiting {len(found.queued)}")
    if found.watches:
        rows = (
            (each.watch.name, f"{each.watch.every_s} s", f"{each.next_due:%H:%M:%S}", each.watch.url)
            for each in found.watches
        )
        show_table(("watch", "every", "next", "url"), rows)
    if found.last:
        show_table(
            ("last request", "status", "amount", "message"),
            (
                (
                    notice.request_id,
                    notice.status.value,
                    show(notice.amount_atomic, notice.currency) if notice.currency else "",
                    notice.message,
                )
                for notice in found.last
            ),
        )


def agents(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the agents, their state and spending."""
    rows = run_async(_agents(Settings.load(home=home).resolve("database_url")))
    if as_json:
        show_json(rows)
    elif not rows:
        say("There are no agents yet: starter.py launch NAME")
    else:
        show_table(
            ("agent", "phase", "state", "payments", "open", "spent"),
            (
                (row["name"], row["phase"], row["state"], row["payments"], row["open_payments"], _spent(row))
                for row in rows
            ),
        )


def _spent(row: dict[str, object]) -> str:
    spent = row["spent_atomic"]
    assert isinstance(spent, dict)
    return ", ".join(show(amount, currency) for currency, amount in spent.items())


async def _agents(settings: Settings) -> list[dict[str, object]]:
    async with ledger_of(settings) as ledger:
        found = await ledger.agents()
    try:
        client = await connect(settings)
    except (TemporalUnreachable, SettingsError) as error:
        say(f"states are unknown: {error}", "yellow")
        states = ["unknown"] * len(found)
    else:
        states = list(await asyncio.gather(*(_state(client, each.agent.name) for each in found)))
    return [
        {
            "name": each.agent.name,
            "phase": each.agent.phase,
            "state": state,
            "wallet_address": each.agent.wallet_address,
            "payments": each.payments,
            "open_payments": each.open_payments,
            "spent_atomic": {currency.value: amount for currency, amount in each.spent_atomic.items()},
        }
        for each, state in zip(found, states, strict=True)
    ]


async def _state(client: Client, name: str) -> str:
    """In one word, without asking a worker: the state it has shown, or how its workflow ended."""
    try:
        described = await client.get_workflow_handle(agent_workflow_id(name)).describe()
    except RPCError:
        return "never launched"
    ended = described.status
    if ended is not None and ended is not WorkflowExecutionStatus.RUNNING:
        return "stopped" if ended is WorkflowExecutionStatus.COMPLETED else ended.name.lower()
    shown = described.typed_search_attributes.get(STATE)
    return printable(shown) if shown else "starting"
