"""What a command connects to, from its settings: the embedded stack, the ledger, the vault, Temporal, the chain.

What must not live here: what a command does there.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from solana.exceptions import SolanaRpcException
from solana.rpc.core import RPCException, UnconfirmedTxError

from autopay.adapters.chain import SolanaChain
from autopay.adapters.ledger import PostgresLedger, open_ledger
from autopay.adapters.vault import Keyring, Vault
from autopay.cli.exits import CommandError, ExitCode
from autopay.domain.errors import UnknownAgent
from autopay.domain.money import Currency
from autopay.domain.network import usdc_mint
from autopay.domain.ports import AgentRecord
from autopay.settings import START_STACK, Settings, SettingsError
from autopay.stack_file import StackFile

T = TypeVar("T")

HomeOption = Annotated[
    Path | None, typer.Option("--home", help="Of the embedded stack, when it is used.", show_default=".autopay")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one line of JSON.")]


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Do it, in an event loop of its own."""
    return asyncio.run(work)


def stack_of(settings: Settings) -> StackFile:
    """The running embedded stack of the home."""
    stack = settings.resolve("home").stack
    if stack is None:
        raise CommandError(f"no embedded stack runs in {settings.home}; {START_STACK}", ExitCode.UNREACHABLE)
    return stack


@asynccontextmanager
async def ledger_of(settings: Settings) -> AsyncIterator[PostgresLedger]:
    """The ledger, closed at the end."""
    ledger = open_ledger(settings.database_url)
    try:
        yield ledger
    finally:
        await ledger.dispose()


def vault_of(settings: Settings) -> Vault:
    """The vault that seals what this command records."""
    try:
        return Vault(Keyring.parse(settings.keyring.get_secret_value()))
    except ValueError as error:
        raise SettingsError(f"AUTOPAY_KEYRING is not valid: {error}") from None


def mint_of(settings: Settings, currency: Currency) -> str:
    """The currency's mint on this network."""
    mint = usdc_mint(settings.network) if currency is Currency.USDC else settings.cash_mint
    if not mint:
        raise SettingsError(f"AUTOPAY_CASH_MINT is not set: CASH has no public mint on {settings.network}")
    return mint


@contextmanager
def chain_errors() -> Iterator[None]:
    """Set-up on the embedded chain either works or ends the command: it has no retries of its own."""
    try:
        yield
    except (SolanaRpcException, RPCException, UnconfirmedTxError, TimeoutError) as error:
        why = type(error.__cause__ or error).__name__
        raise CommandError(f"the chain does not answer as it should ({why})", ExitCode.UNREACHABLE) from None


async def check_network(settings: Settings) -> None:
    """Refuse a node of another network before anything is signed for it."""
    chain = SolanaChain(settings.solana_rpc_url, settings.network)
    try:
        await chain.latest_blockhash()
    finally:
        await chain.close()


async def known_agent(ledger: PostgresLedger, name: str) -> AgentRecord:
    """The agent as the ledger has it, or an error that says what to do."""
    try:
        return await ledger.agent(name)
    except UnknownAgent:
        raise CommandError(f"there is no agent {name!r}: see `starter.py agents`, or launch it") from None
