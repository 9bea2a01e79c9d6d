"""`fund`: test tokens for an agent and its owner, on the embedded chain."""

from typing import Annotated

import typer

from autopay.cli.connect.connections import agent_handle, known_agent, ledger_of
from autopay.cli.connect.event_loop import run_async
from autopay.cli.terminal.console import note
from autopay.cli.terminal.exit_codes import CommandError, examples_help
from autopay.cli.terminal.options import (
    AgentArgument,
    HomeOption,
    agent_name,
    amount_atomic,
    complete_currency,
    currency_of,
)
from autopay.client.agents.grant_hint import grant_command
from autopay.client.errors import AgentNotRunning
from autopay.delegation.connections import mint_of
from autopay.domain.money import Currency, show
from autopay.domain.phase import Phase
from autopay.domain.refusal import Refused
from autopay.domain.text.command_line import command_line
from autopay.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("fund", epilog=examples_help("fund trader 5", "fund trader 5 --currency CASH"))(fund)


def fund(
    name: AgentArgument,
    amount: Annotated[str, typer.Argument(help="How much, in token units: 5 or 0.25.")],
    currency: Annotated[str, typer.Option(autocompletion=complete_currency, help="USDC or CASH.")] = "USDC",
    home: HomeOption = None,
) -> None:
    """Give an agent test tokens, on the embedded chain.

    They go into its session's account, and as many into its owner's wallet. The session still spends no more than its
    allowance: `session grant` gives it a new session with a larger one.
    """
    atomic, money = amount_atomic(amount), currency_of(currency)
    settings = Settings.load(home=home).resolve("database_url", "solana_rpc_url")
    if not settings.on_localnet:
        raise CommandError("test tokens exist on the embedded chain only: send real ones to the agent's account")
    run_async(_fund(settings, agent_name(name), money, atomic))


async def _fund(settings: Settings, name: str, currency: Currency, amount: int) -> None:
    from solders.pubkey import Pubkey

    from localnet.tokens import faucet, mint_to_account

    mint = Pubkey.from_string(mint_of(settings, currency))
    async with ledger_of(settings) as ledger:
        agent = await known_agent(ledger, name)
        session = await ledger.sessions.current(name, currency)
    try:
        wallet = Pubkey.from_string(agent.wallet_address)
    except ValueError:
        raise CommandError(f"agent {name!r} has no wallet yet: {command_line('launch', name)}") from None
    await faucet(settings.solana_rpc_url, wallet, mint, amount)
    if isinstance(session, Refused):
        grant = grant_command(name, Phase(agent.phase), currency, amount, None)
        note(f"only its owner's wallet got {show(amount, currency)}: {session.message}; a new one: {grant}", "yellow")
    else:
        account = Pubkey.from_string(session.key.source_account)
        await mint_to_account(settings.solana_rpc_url, account, mint, amount)
        note(f"{name} and its owner got {show(amount, currency)} each", "green")
    try:
        await (await agent_handle(settings, name)).signal("check_balances")
    except AgentNotRunning:
        note(f"agent {name} is not running", "yellow")
