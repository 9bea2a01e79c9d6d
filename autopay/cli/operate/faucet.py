"""`faucet`: SOL and test tokens for any address, on the embedded chain."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from autopay.cli.connect.event_loop import run_async
from autopay.cli.operate.weather import stack_of
from autopay.cli.terminal.console import print_json, print_line
from autopay.cli.terminal.exit_codes import CommandError, examples_help
from autopay.cli.terminal.options import HomeOption, JsonOption, amount_or_zero, solana_address
from autopay.delegation.connections import mint_of
from autopay.domain.money import Currency, show, units_text
from autopay.domain.network import Network
from autopay.settings import Settings

if TYPE_CHECKING:
    from solders.pubkey import Pubkey

_LAMPORTS_PER_MICROSOL = 1_000
_LEAST_SOL, _MOST_SOL = 1_000, 1_000_000_000
"""In millionths of a SOL: what an account must hold at least, rounded up, and more than any test needs."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "faucet",
        epilog=examples_help(
            "faucet 9xQeWvG816bUx9EPjHmaT23yvVM2ZWbrrpZb9PusVFin --sol 1 --usdc 10",
            "faucet 9xQeWvG816bUx9EPjHmaT23yvVM2ZWbrrpZb9PusVFin --cash 2.5 --json",
            "faucet 9xQeWvG816bUx9EPjHmaT23yvVM2ZWbrrpZb9PusVFin --usdc 0   # only opens its account",
        ),
    )(faucet)


def faucet(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="A wallet: a seller's, a facilitator's, anyone's.")],
    sol: Annotated[str | None, typer.Option(metavar="AMOUNT", help="SOL, for fees.")] = None,
    usdc: Annotated[str | None, typer.Option(metavar="AMOUNT", help="Test USDC; 0 only opens its account.")] = None,
    cash: Annotated[str | None, typer.Option(metavar="AMOUNT", help="Test CASH; 0 only opens its account.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give any address SOL and test tokens, on the embedded chain.

    Tokens go into the address's associated token account, which is opened when it is not there: whoever is paid in a
    token needs one. An agent gets its tokens by `fund` and `launch`.
    """
    wallet = solana_address(address)
    millionths = _sol(sol) if sol is not None else None
    given = ((Currency.USDC, usdc), (Currency.CASH, cash))
    tokens = {currency: _amount(text, f"--{currency.lower()}") for currency, text in given if text is not None}
    if millionths is None and not tokens:
        raise typer.BadParameter("say how much of what: --sol 1, --usdc 10 or --cash 10", param_hint="--sol")
    settings = _on_embedded_chain(Settings.load(home=home))
    found = run_async(_give(settings, wallet, millionths, tokens))
    if as_json:
        print_json(found)
        return
    if millionths is not None:
        print_line(f"{show(millionths, 'SOL')} to {address}")
    for currency, amount in tokens.items():
        print_line(f"{show(amount, currency)} to {address}, in its account {found[currency.lower()]['account']}")


def _on_embedded_chain(settings: Settings) -> Settings:
    """The settings with the running stack's addresses; an error when they name another chain than the stack's."""
    if settings.network is Network.DEVNET:
        stack_of(settings)
        settings = settings.resolve("solana_rpc_url")
        if settings.on_localnet:
            return settings
    raise CommandError(
        "test money exists on the embedded chain only, and AUTOPAY_SOLANA_RPC_URL or AUTOPAY_NETWORK names another: "
        "unset it, or get devnet's from https://faucet.solana.com and https://faucet.circle.com"
    )


def _amount(text: str, option: str) -> int:
    """Base units of an amount, or an error that names the option."""
    try:
        return amount_or_zero(text)
    except typer.BadParameter as error:
        raise typer.BadParameter(error.message, param_hint=option) from None


def _sol(text: str) -> int:
    """Millionths of a SOL."""
    amount = _amount(text, "--sol")
    if not _LEAST_SOL <= amount <= _MOST_SOL:
        least, most = show(_LEAST_SOL, "SOL"), show(_MOST_SOL, "SOL")
        raise typer.BadParameter(f"{text!r} is not between {least} and {most}", param_hint="--sol")
    return amount


async def _give(
    settings: Settings, wallet: "Pubkey", millionths: int | None, tokens: dict[Currency, int]
) -> dict[str, Any]:
    from solders.pubkey import Pubkey

    from localnet import tokens as chain

    found: dict[str, Any] = {"address": str(wallet)}
    if await chain.is_token_account(settings.solana_rpc_url, wallet):
        raise CommandError(f"{wallet} is a token account: name the wallet that it belongs to")
    if millionths is not None:
        await chain.airdrop(settings.solana_rpc_url, wallet, millionths * _LAMPORTS_PER_MICROSOL)
        found["sol"] = units_text(millionths)
    for currency, amount in tokens.items():
        mint = Pubkey.from_string(mint_of(settings, currency))
        account = await chain.faucet(settings.solana_rpc_url, wallet, mint, amount)
        found[currency.lower()] = {"amount": units_text(amount), "account": str(account), "mint": str(mint)}
    return found
