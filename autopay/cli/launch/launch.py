"""`launch`: an agent, or all agents of a file, with sessions to pay from."""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from autopay.cli.agent.watch import WATCH_EXAMPLE, watches_of
from autopay.cli.connect.connections import ledger_and_temporal, vault_of
from autopay.cli.connect.event_loop import run_async
from autopay.cli.launch.launch_file import EXAMPLE, LaunchFileError, read_launch_file
from autopay.cli.launch.launch_order import LaunchOrder, LaunchOutcome
from autopay.cli.terminal.console import note, print_json
from autopay.cli.terminal.exit_codes import CommandError, ExitCode, examples_help
from autopay.cli.terminal.files import name_of, read_toml_text
from autopay.cli.terminal.options import (
    DEFAULT_ALLOWANCE,
    DurationOption,
    HomeOption,
    JsonOption,
    OwnerKeypairOption,
    TxLimitOption,
    agent_name,
    amount_atomic,
    complete_currency,
    complete_phase,
    currency_of,
    phase_of,
    session_s,
)
from autopay.cli.terminal.tables import print_table
from autopay.client.agents.grant_hint import too_small_a_grant
from autopay.client.errors import start_worker
from autopay.domain.money import Currency, show, units_text
from autopay.domain.network import Network
from autopay.domain.request import agent_workflow_id
from autopay.domain.session import session_scope
from autopay.domain.text.times import span
from autopay.settings import Settings

PhaseOption = Annotated[
    str,
    typer.Option(
        autocompletion=complete_phase, help="demo: ends after 3 payments. interactive: asks a person. full: goes on."
    ),
]
CurrenciesOption = Annotated[
    list[str] | None,
    typer.Option(autocompletion=complete_currency, help="USDC or CASH; repeatable.", show_default="USDC"),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    launches = examples_help(
        "launch trader --phase full --allowance 5 --tx-limit 500 --duration 24h",
        'launch scout --watch "http://127.0.0.1:8403/api/market-feed every=30s max-price=0.01"',
        "launch trader --currency USDC --currency CASH --owner-keypair ~/.config/solana/id.json",
        "launch trader --phase full --no-grant",
        "launch --file agents.toml --dry-run",
        "launch --file agents.toml --json",
    )
    in_file = "\n".join(["\b", "A file of agents:", *(f"  {line}" for line in EXAMPLE.splitlines())])
    app.command("launch", epilog=f"{launches}\n\n{in_file}")(launch)


def launch(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="AGENT", help="The agent's name.", show_default=False)] = None,
    phase: PhaseOption = "demo",
    allowance: Annotated[str, typer.Option(help="What its session may spend, in each currency.")] = DEFAULT_ALLOWANCE,
    currency: CurrenciesOption = None,
    tx_limit: TxLimitOption = None,
    duration: DurationOption = None,
    owner_keypair: OwnerKeypairOption = None,
    no_grant: Annotated[
        bool, typer.Option("--no-grant", help="Start it with the sessions that it has; see `session grant`.")
    ] = False,
    watch: Annotated[
        list[str] | None,
        typer.Option(help=f"Data to keep fresh: {WATCH_EXAMPLE}; repeatable."),
    ] = None,
    file: Annotated[
        str | None, typer.Option("--file", help="Launch all agents of this TOML file; `-` reads stdin.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --file: check the file and show what it would launch.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Launch an agent, or all agents of a file.

    The owner grants it a session that can spend the allowance and no more, and it starts. On the embedded chain
    the owner is a test wallet with test money. With --file, agents that run already are left alone, and one that
    fails does not stop the others.
    """
    if file is not None:
        _refuse_beside_file(context)
        orders = [replace(each, owner_keypair=owner_keypair, grants=not no_grant) for each in _read(file)]
        if dry_run:
            _show_plan(orders, as_json=as_json)
        else:
            _launch_file(home, orders, as_json=as_json)
        return
    if name is None or dry_run:
        raise typer.BadParameter("--dry-run is for --file" if dry_run else "say which agent, or --file FILE")
    chosen = phase_of(phase)
    payments, lasts_s = session_scope(chosen, tx_limit, None if duration is None else session_s(duration))
    order = LaunchOrder(
        name=agent_name(name),
        phase=chosen,
        currencies=tuple(dict.fromkeys(currency_of(each) for each in currency or ["USDC"])),
        allowance_atomic=amount_atomic(allowance),
        tx_limit=payments,
        duration_s=lasts_s,
        watches=watches_of(watch or []),
        owner_keypair=owner_keypair,
        grants=not no_grant,
    )
    settings = Settings.load(home=home).resolve()
    has_worker = run_async(_launch(settings, order))
    if as_json:
        print_json({"agent": order.name, "workflow_id": agent_workflow_id(order.name), "phase": order.phase.value})
    else:
        spends = f"it may spend {_money(order)}" if order.grants else "it spends what its sessions allow"
        note(f"agent {order.name} runs in phase {order.phase.value}; {spends}", "green")
    _note_small_grants(order)
    if not has_worker:
        note(f"no worker runs, so the agent waits; {start_worker()}", "yellow")


def _note_small_grants(order: LaunchOrder) -> None:
    """Say of each currency in which the allowance is less than the agent needs before it pays anything."""
    for currency in order.currencies if order.grants else ():
        needed = order.rules.needed(currency)
        problem = too_small_a_grant(order.name, order.phase, currency, order.allowance_atomic, needed)
        if problem is not None:
            note(problem, "yellow")


async def _launch(settings: Settings, order: LaunchOrder) -> bool:
    from autopay.cli.launch.launch_steps import launch_agent
    from autopay.client.agents.handle import AgentHandle

    vault = vault_of(settings)
    async with ledger_and_temporal(settings) as (ledger, client):
        await launch_agent(settings, ledger, client, vault, order)
    return await AgentHandle(client, order.name, settings.task_queue).has_worker()


def _refuse_beside_file(context: typer.Context) -> None:
    """Refuse options that the file sets for each agent."""
    for name in ("name", "phase", "allowance", "currency", "tx_limit", "duration", "watch"):
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            shown = "an agent's name" if name == "name" else f"--{name.replace('_', '-')}"
            raise typer.BadParameter(f"the file sets it for each agent: leave {shown} out", param_hint="--file")


def _read(file: str) -> list[LaunchOrder]:
    """The agents of a file; the error has a line for each thing that is wrong with it."""
    try:
        return read_launch_file(read_toml_text(file))
    except LaunchFileError as error:
        raise CommandError("\n       ".join(f"{name_of(file)}, {each}" for each in error.problems)) from None


def _show_plan(orders: list[LaunchOrder], *, as_json: bool) -> None:
    if as_json:
        for order in orders:
            print_json(order.spec(Network.DEVNET).model_dump(mode="json", exclude={"network"}) | _grant(order))
        return
    columns = ("agent", "phase", "allowance", "payments", "for", "watches")
    print_table(
        columns, ((o.name, o.phase.value, _money(o), o.tx_limit, span(o.duration_s), len(o.watches)) for o in orders)
    )
    totals = {
        currency: sum(order.allowance_atomic for order in orders if currency in order.currencies)
        for currency in Currency
    }
    money = " and ".join(show(amount, currency) for currency, amount in totals.items() if amount)
    note(f"the file is valid: {len(orders)} agents, which may spend {money} in all; nothing was launched", "green")


def _grant(order: LaunchOrder) -> dict[str, Any]:
    return {
        "allowance": units_text(order.allowance_atomic),
        "tx_limit": order.tx_limit,
        "duration_s": order.duration_s,
    }


def _money(order: LaunchOrder) -> str:
    return " and ".join(show(order.allowance_atomic, each) for each in order.currencies)


def _launch_file(home: Path | None, orders: list[LaunchOrder], *, as_json: bool) -> None:
    from autopay.cli.launch.launch_steps import check_orders

    settings = Settings.load(home=home).resolve()
    check_orders(settings, orders)
    done: list[LaunchOutcome] = []

    def print_outcome(each: LaunchOutcome) -> None:
        done.append(each)
        if as_json:
            print_json(asdict(each) | {"workflow_id": agent_workflow_id(each.agent)})
        words = {"launched": "launched", "running": "runs already, left alone", "failed": f"failed: {each.error}"}
        style = {"launched": "green", "running": "", "failed": "red"}[each.outcome]
        note(f"{len(done)}/{len(orders)} {each.agent} {words[each.outcome]}", style)

    has_worker = run_async(_launch_all(settings, orders, print_outcome))
    for order in orders:
        _note_small_grants(order)
    if not has_worker:
        note(f"no worker runs, so the agents wait; {start_worker()}", "yellow")
    failed = sum(each.outcome == "failed" for each in done)
    if failed:
        raise CommandError(f"{failed} of {len(orders)} agents were not launched", ExitCode.FAULT)


async def _launch_all(
    settings: Settings, orders: list[LaunchOrder], on_outcome: Callable[[LaunchOutcome], None]
) -> bool:
    from autopay.cli.launch.launch_steps import launch_all
    from autopay.client.agents.handle import AgentHandle

    vault = vault_of(settings)
    async with ledger_and_temporal(settings) as (ledger, client):
        await launch_all(settings, ledger, client, vault, orders, on_outcome)
    return await AgentHandle(client, orders[0].name, settings.task_queue).has_worker()
