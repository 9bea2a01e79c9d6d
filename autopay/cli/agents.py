"""`status`, `pause`, `resume` and `stop`: what an agent does, and telling it to wait or end."""

from typing import Annotated

import typer

from autopay.cli.agent_calls import AgentCalls, AgentNotRunning
from autopay.cli.console import say, say_result, show_json, show_table
from autopay.cli.exits import CommandError, examples
from autopay.cli.invocation import HomeOption, JsonOption, run_async
from autopay.cli.options import agent_name
from autopay.domain.agent import AgentStatus
from autopay.domain.money import show
from autopay.settings import Settings
from autopay.temporal import connect

Name = Annotated[str, typer.Argument(help="The agent's name.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
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
    say_result(f"in flight {len(found.in_flight)}, waiting {len(found.queued)}, settling {len(found.settling)}")
    for held in found.held:
        asks = f"; starter.py approvals {found.name}" if held.why == "approval" else ""
        waits = "a person" if held.why == "approval" else "the chain"
        say_result(f"{held.request_id} waits for {waits} since {held.since:%F %T} UTC: {held.message}{asks}")
    if found.watches:
        rows = (
            (
                each.watch.name,
                f"{each.watch.every_s} s",
                f"{each.next_due:%H:%M:%S}" if each.next_due else each.waits or "",
                each.watch.url,
            )
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
