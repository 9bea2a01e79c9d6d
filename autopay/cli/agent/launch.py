"""`launch` and `fund`: an agent and its money."""

import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from autopay.cli.agent.launch_file import EXAMPLE, LaunchFileError, read_launch_file
from autopay.cli.agent.launch_many import LaunchOutcome, check_orders, launch_all
from autopay.cli.agent.launch_steps import LaunchOrder, launch_agent
from autopay.cli.connect.agent_handle import START_WORKER, AgentHandle, AgentNotRunning
from autopay.cli.connect.connections import chain_errors, known_agent, ledger_of, mint_of, vault_of
from autopay.cli.connect.console import note, print_json, print_table
from autopay.cli.connect.exit_codes import CommandError, ExitCode, examples_help
from autopay.cli.connect.formats import span
from autopay.cli.connect.invocation import HomeOption, JsonOption, run_async
from autopay.cli.connect.options import agent_name, amount_atomic, currency_of, phase_of, session_s, watches_of
from autopay.domain.money import Currency, show, to_units
from autopay.domain.network import Network
from autopay.domain.refusal import Refused
from autopay.domain.request import agent_workflow_id
from autopay.settings import Settings
from autopay.temporal.connection import connect

STDIN = "-"


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
    app.command("fund", epilog=examples_help("fund trader 5", "fund trader 5 --currency CASH"))(fund)


def launch(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="The agent's name.", show_default=False)] = None,
    phase: Annotated[
        str, typer.Option(help="demo: ends after 3 payments. interactive: asks a person. full: goes on.")
    ] = "demo",
    allowance: Annotated[str, typer.Option(help="What its session may spend, in each currency.")] = "1.00",
    currency: Annotated[list[str] | None, typer.Option(help="USDC or CASH; repeatable.", show_default="USDC")] = None,
    tx_limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many payments its session allows.")] = 3,
    duration: Annotated[str, typer.Option(help="How long its session lasts: 1h, 7d.")] = "1h",
    owner_keypair: Annotated[
        Path | None, typer.Option(help="The owner's key, who grants the session; used once, stored nowhere.")
    ] = None,
    no_grant: Annotated[
        bool, typer.Option("--no-grant", help="Start it with the sessions that it has; see `session grant`.")
    ] = False,
    watch: Annotated[
        list[str] | None,
        typer.Option(help='Data to keep fresh: "URL every=30s max-price=0.01 currency=CASH weight=2 name=x".'),
    ] = None,
    file: Annotated[
        str | None, typer.Option("--file", help="Launch all agents of this TOML file; - reads stdin.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --file: check it, and say what it would do.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Launch an agent, or all of a file, with money of its own.

    The owner grants it a session that can spend the allowance and no more, and it starts. On the embedded chain
    the owner is a test wallet with test money. Of a file, agents that run already are left alone, and one that fails
    does not stop the others.
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
    order = LaunchOrder(
        name=agent_name(name),
        phase=phase_of(phase),
        currencies=tuple(dict.fromkeys(currency_of(each) for each in currency or ["USDC"])),
        allowance_atomic=amount_atomic(allowance),
        tx_limit=tx_limit,
        duration_s=session_s(duration),
        watches=watches_of(watch or []),
        owner_keypair=owner_keypair,
        grants=not no_grant,
    )
    settings = Settings.load(home=home).resolve()
    has_worker = run_async(_launch(settings, order))
    if as_json:
        print_json({"agent": order.name, "workflow_id": agent_workflow_id(order.name), "phase": order.phase.value})
    else:
        money = " and ".join(show(order.allowance_atomic, each) for each in order.currencies)
        spends = f"it may spend {money}" if order.grants else "it spends what its sessions allow"
        note(f"agent {order.name} runs in phase {order.phase.value}; {spends}", "green")
    if not has_worker:
        note(f"No worker runs, so it waits; {START_WORKER}", "yellow")


async def _launch(settings: Settings, order: LaunchOrder) -> bool:
    vault = vault_of(settings)
    client = await connect(settings)
    async with ledger_of(settings) as ledger:
        await launch_agent(settings, ledger, client, vault, order)
    return await AgentHandle(client, order.name, settings.task_queue).has_worker()


def _refuse_beside_file(context: typer.Context) -> None:
    """What the file says of each agent cannot be said for all of them beside it."""
    for name in ("name", "phase", "allowance", "currency", "tx_limit", "duration", "watch"):
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            shown = "an agent's name" if name == "name" else f"--{name.replace('_', '-')}"
            raise typer.BadParameter(f"the file says what is launched, and how: leave {shown} out", param_hint="--file")


def _read(file: str) -> list[LaunchOrder]:
    """The agents of a file; all that is wrong with it is told, a line each."""
    where = "stdin" if file == STDIN else file
    try:
        raw = sys.stdin.buffer.read() if file == STDIN else Path(file).expanduser().read_bytes()
        return read_launch_file(raw.decode())
    except OSError as error:
        raise CommandError(f"{where}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise CommandError(f"{where}, line {error.object[: error.start].count(10) + 1}: not UTF-8") from None
    except LaunchFileError as error:
        raise CommandError("\n       ".join(f"{where}, {each}" for each in error.problems)) from None


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
        "allowance": f"{to_units(order.allowance_atomic):f}",
        "tx_limit": order.tx_limit,
        "duration_s": order.duration_s,
    }


def _money(order: LaunchOrder) -> str:
    return " and ".join(show(order.allowance_atomic, each) for each in order.currencies)


def _launch_file(home: Path | None, orders: list[LaunchOrder], *, as_json: bool) -> None:
    settings = Settings.load(home=home).resolve()
    check_orders(settings, orders)
    done: list[LaunchOutcome] = []

    def tell(launched: LaunchOutcome) -> None:
        done.append(launched)
        if as_json:
            print_json(asdict(launched) | {"workflow_id": agent_workflow_id(launched.agent)})
        words = {"launched": "launched", "running": "runs already, left alone", "failed": f"failed: {launched.error}"}
        style = {"launched": "green", "running": "", "failed": "red"}[launched.outcome]
        note(f"{len(done)}/{len(orders)} {launched.agent} {words[launched.outcome]}", style)

    has_worker = run_async(_launch_all(settings, orders, tell))
    if not has_worker:
        note(f"No worker runs, so they wait; {START_WORKER}", "yellow")
    failed = sum(each.outcome == "failed" for each in done)
    if failed:
        raise CommandError(f"{failed} of {len(orders)} agents were not launched", ExitCode.FAULT)


async def _launch_all(settings: Settings, orders: list[LaunchOrder], tell: Callable[[LaunchOutcome], None]) -> bool:
    vault = vault_of(settings)
    client = await connect(settings)
    async with ledger_of(settings) as ledger:
        await launch_all(settings, ledger, client, vault, orders, tell)
    return await AgentHandle(client, orders[0].name, settings.task_queue).has_worker()


def fund(
    name: Annotated[str, typer.Argument(help="The agent's name.")],
    amount: Annotated[str, typer.Argument(help="How much, in token units: 5 or 0.25.")],
    currency: Annotated[str, typer.Option(help="USDC or CASH.")] = "USDC",
    home: HomeOption = None,
) -> None:
    """Give an agent test tokens (embedded chain only).

    They go into its session's account, and as many into its owner's wallet. What a session may spend in all stays
    its allowance: launch again to grant another.
    """
    atomic, money = amount_atomic(amount), currency_of(currency)
    settings = Settings.load(home=home).resolve("database_url", "solana_rpc_url")
    if not settings.on_localnet:
        raise CommandError("test tokens exist on the embedded chain only: send real ones to the agent's account")
    run_async(_fund(settings, agent_name(name), money, atomic))


async def _fund(settings: Settings, name: str, currency: Currency, amount: int) -> None:
    from solders.pubkey import Pubkey  # noqa: PLC0415 (slow to load)

    from localnet.tokens import faucet  # noqa: PLC0415 (an extra)
    from localnet.topup import mint_to_account  # noqa: PLC0415

    mint = Pubkey.from_string(mint_of(settings, currency))
    async with ledger_of(settings) as ledger:
        agent = await known_agent(ledger, name)
        session = await ledger.sessions.current(name, currency)
    try:
        wallet = Pubkey.from_string(agent.wallet_address)
    except ValueError:
        raise CommandError(f"agent {name!r} has no wallet yet: starter.py launch {name}") from None
    with chain_errors():
        await faucet(settings.solana_rpc_url, wallet, mint, amount)
    if isinstance(session, Refused):
        note(f"only its owner's wallet got {show(amount, currency)}: {session.message}", "yellow")
    else:
        account = Pubkey.from_string(session.key.source_account)
        with chain_errors():
            await mint_to_account(settings.solana_rpc_url, account, mint, amount)
        note(f"{name} and its owner got {show(amount, currency)} each", "green")
    try:
        await AgentHandle(await connect(settings), name, settings.task_queue).signal("check_balances")
    except AgentNotRunning:
        note(f"agent {name} is not running", "yellow")
