"""Where the benchmark runs: an embedded stack, sellers that block nothing on networks of 0 and 60 ms, and an agent."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from temporalio.client import Client

from autopay.adapters.postgres import PostgresLedger, open_ledger
from autopay.adapters.solana.owner.key_file import read_key_file
from autopay.cli.connect.connections import vault_of
from autopay.cli.launch.launch_order import LaunchOrder
from autopay.cli.launch.launch_steps import launch_all
from autopay.domain.agent.spec import Rules
from autopay.domain.money import Currency
from autopay.domain.phase import Phase
from autopay.settings import Settings
from autopay.settings.stack_file import StackFile
from autopay.temporal.connection import connect
from localnet.chain.genesis import USDC_MINT
from localnet.ports import PortClaims
from localnet.stack import Stack
from localnet.tokens import ensure_sol, faucet, load_or_create_keypair, open_token_accounts

AGENT = "bench"
DELAYS_MS = (0, 60)
MONEY_ATOMIC = 1_000_000_000
PAYMENTS = 1_000_000
AGENT_AT_ONCE = 100
"""The agent's own limit of payments at once: above what is measured."""

HOUR_S = 3_600
START_S = 30


@dataclass(frozen=True)
class Town:
    """A stack with one worker, one agent with a session, a payer for those who need no agent, and sellers.

    `sellers` are addresses by their delay in ms.
    """

    home: Path
    stack: Stack
    addresses: StackFile
    settings: Settings
    client: Client
    ledger: PostgresLedger
    payer_file: Path
    merchant: str
    sellers: dict[int, str]

    @property
    def payer(self) -> Keypair:
        """The key of a wallet with money."""
        return read_key_file(self.payer_file)

    async def set_delay(self, delay_ms: int) -> None:
        """Let the node answer that much later, as the seller of that delay does."""
        async with httpx.AsyncClient(trust_env=False) as http:
            put = await http.put(f"{self.addresses.solana_rpc}/weather", json={"latency_ms": delay_ms})
            put.raise_for_status()


@asynccontextmanager
async def town(home: Path, *, workers: int = 1) -> AsyncIterator[Town]:
    """Start everything, and end it."""
    stack = Stack(home, workers=workers, ephemeral=True, report=tell)
    async with stack as addresses, AsyncExitStack() as started:
        settings = Settings.load(home=home).resolve()
        ledger = open_ledger(addresses.database_url)
        started.push_async_callback(ledger.dispose)
        fee_payer_file, payer_file = home / "bench-fee-payer.json", home / "bench-payer.json"
        fee_payer, payer = load_or_create_keypair(fee_payer_file), load_or_create_keypair(payer_file)
        merchant = Keypair().pubkey()
        rpc_url = addresses.solana_rpc
        await ensure_sol(rpc_url, fee_payer.pubkey())
        await open_token_accounts(rpc_url, fee_payer, merchant, [USDC_MINT])
        await faucet(rpc_url, payer.pubkey(), USDC_MINT, MONEY_ATOMIC)
        sellers = await _sellers(started, rpc_url, fee_payer_file, merchant)
        client = await connect(settings)
        here = Town(home, stack, addresses, settings, client, ledger, payer_file, str(merchant), sellers)
        await launch(here, AGENT)
        yield here


async def launch(here: Town, *names: str) -> None:
    """Agents that nothing limits but the machine. Raises RuntimeError when one is not launched."""
    orders = [
        LaunchOrder(
            name=name,
            phase=Phase.FULL,
            currencies=(Currency.USDC,),
            allowance_atomic=MONEY_ATOMIC // len(names),
            tx_limit=PAYMENTS,
            duration_s=HOUR_S * 24,
            rules=Rules(max_in_flight=AGENT_AT_ONCE, queue_limit=1_000),
        )
        for name in names
    ]
    outcomes = await launch_all(
        here.settings, here.ledger, here.client, vault_of(here.settings), orders, lambda _: None
    )
    for each in outcomes:
        if each.outcome == "failed":
            raise RuntimeError(f"agent {each.agent} was not launched: {each.error}")


async def _sellers(started: AsyncExitStack, rpc_url: str, fee_payer: Path, merchant: Pubkey) -> dict[int, str]:
    claims = PortClaims()
    started.callback(claims.release)
    sellers = {}
    for delay_ms in DELAYS_MS:
        port = claims.claim_any()
        options = ["--rpc", rpc_url, "--fee-payer", str(fee_payer), "--pay-to", str(merchant)]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.payments.seller", "--port", str(port), "--delay-ms", str(delay_ms),
            *options, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        started.push_async_callback(_end, process)
        sellers[delay_ms] = f"http://127.0.0.1:{port}"
    for address in sellers.values():
        await _answers(address)
    return sellers


async def _answers(address: str) -> None:
    async with asyncio.timeout(START_S), httpx.AsyncClient(trust_env=False) as http:
        while True:
            try:
                (await http.get(f"{address}/counts")).raise_for_status()
            except httpx.TransportError:
                await asyncio.sleep(0.1)
            else:
                return


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    await process.wait()


async def run_program(command: Sequence[str], **environment: str) -> str:
    """What a program prints. Raises RuntimeError with its last words when it fails."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env={**os.environ, **environment}
    )
    try:
        printed, errors = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}: {errors.decode()[-2000:]}")
    return printed.decode()


def tell(text: str) -> None:
    """Say what is done now."""
    sys.stderr.write(f"{text}\n")
