"""`launch` and `fund`: an agent and its money."""

from pathlib import Path
from typing import Annotated

import typer

from autopay.cli.agent_calls import START_WORKER, AgentCalls, AgentNotRunning
from autopay.cli.console import say, show_json
from autopay.cli.exits import CommandError, examples
from autopay.cli.invocation import HomeOption, JsonOption, run_async
from autopay.cli.launching import LaunchOrder, launch_agent
from autopay.cli.options import agent_name, amount_atomic, currency_of, phase_of, session_s, watches_of
from autopay.cli.places import chain_errors, known_agent, ledger_of, mint_of, vault_of
from autopay.domain.money import Currency, show
from autopay.domain.offer import Refused
from autopay.domain.request import agent_workflow_id
from autopay.settings import Settings
from autopay.temporal import connect


def register(app: typer.Typer) -> None:
    """Add the commands."""
    launches = examples(
        "launch trader --phase full --allowance 5 --tx-limit 500 --duration 24h",
        'launch scout --watch "http://127.0.0.1:8403/api/market-feed every=30s max-price=0.01"',
        "launch trader --currency USDC --currency CASH --owner-keypair ~/.config/solana/id.json",
        "launch trader --phase full --no-grant",
    )
    app.command("launch", epilog=launches)(launch)
    app.command("fund", epilog=examples("fund trader 5", "fund trader 5 --currency CASH"))(fund)


def launch(
    name: Annotated[str, typer.Argument(help="The agent's name.")],
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
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Launch an agent with money of its own.

    The owner grants it a session that can spend the allowance and no more, and it starts. On the embedded chain
    the owner is a test wallet with test money.
    """
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
        show_json({"agent": order.name, "workflow_id": agent_workflow_id(order.name), "phase": order.phase.value})
    else:
        money = " and ".join(show(order.allowance_atomic, each) for each in order.currencies)
        spends = f"it may spend {money}" if order.grants else "it spends what its sessions allow"
        say(f"agent {order.name} runs in phase {order.phase.value}; {spends}", "green")
    if not has_worker:
        say(f"No worker runs, so it waits; {START_WORKER}", "yellow")


async def _launch(settings: Settings, order: LaunchOrder) -> bool:
    vault = vault_of(settings)
    client = await connect(settings)
    async with ledger_of(settings) as ledger:
        await launch_agent(settings, ledger, client, vault, order)
    return await AgentCalls(client, order.name, settings.task_queue).has_worker()


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
        session = await ledger.session(name, currency)
    try:
        wallet = Pubkey.from_string(agent.wallet_address)
    except ValueError:
        raise CommandError(f"agent {name!r} has no wallet yet: starter.py launch {name}") from None
    with chain_errors():
        await faucet(settings.solana_rpc_url, wallet, mint, amount)
    if isinstance(session, Refused):
        say(f"only its owner's wallet got {show(amount, currency)}: {session.message}", "yellow")
    else:
        account = Pubkey.from_string(session.key.source_account)
        with chain_errors():
            await mint_to_account(settings.solana_rpc_url, account, mint, amount)
        say(f"{name} and its owner got {show(amount, currency)} each", "green")
    try:
        await AgentCalls(await connect(settings), name, settings.task_queue).signal("check_balances")
    except AgentNotRunning:
        say(f"agent {name} is not running", "yellow")
