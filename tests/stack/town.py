"""A stack with one worker and one agent, and short words for what tests do there."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from temporalio.client import Client, WorkflowHandle

from autopay.adapters.postgres import PostgresLedger, open_ledger
from autopay.adapters.solana.history import SolanaHistory
from autopay.adapters.solana.rpc import NodeRpc
from autopay.adapters.vault import Keyring, Vault
from autopay.cli.launch.launch_order import LaunchOrder
from autopay.cli.launch.launch_steps import launch_agent
from autopay.domain.money import Currency
from autopay.domain.phase import Phase
from autopay.domain.reconcile.checkpoint import Checkpoint
from autopay.domain.reconcile.report import ReconcileReport
from autopay.domain.reconcile.run import ReconcileRun
from autopay.domain.request import RequestResult, RequestSpec, agent_workflow_id, x402_request_id
from autopay.settings import Settings
from autopay.settings.stack_file import StackFile
from autopay.temporal.connection import connect
from localnet.stack import Stack
from tests.stack.shell import Shell

PATIENCE_S = 60
SLOW_MS = 1_500
"""Long enough for a test to act between a signature and the seller's answer."""

INSIGHT = "/api/ai-insights?topic=fees"
FEED = "/api/market-feed"


@dataclass
class Town:
    """A stack with one worker and one agent, and short words for what tests do there."""

    stack: Stack
    addresses: StackFile
    settings: Settings
    ledger: PostgresLedger
    client: Client
    agent: str = "recovers"

    def key(self, request_id: str) -> str:
        """The request's key in the ledger."""
        return x402_request_id(self.agent, request_id)

    async def ask(self, request_id: str, url: str) -> None:
        """Have the agent take a request."""
        handle: WorkflowHandle[Any, Any] = self.client.get_workflow_handle(agent_workflow_id(self.agent))
        await handle.execute_update("request", RequestSpec(request_id=request_id, url=url))

    async def ended(self, request_id: str) -> RequestResult:
        """How the request ended."""

        async def closed() -> bool:
            return (await self.ledger.requests.get(self.key(request_id))).closed

        await until(closed)
        return await self.ledger.requests.result(self.key(request_id))

    async def sent(self, request_id: str) -> None:
        """Wait until the payment is on its way to the seller."""

        async def counted() -> bool:
            attempt = (await self.ledger.payments.recall(self.key(request_id))).last
            return attempt is not None and attempt.sends > 0

        await until(counted)

    async def weather(self, api: str, **faults: object) -> None:
        """Faults at a seller; none of them clears all."""
        async with httpx.AsyncClient(trust_env=False) as http:
            (await http.put(f"{api}/weather", json={})).raise_for_status()
            (await http.put(f"{api}/weather", json=faults)).raise_for_status()

    async def starter(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        """Run a command that must end with that code; stdout and stderr."""
        return await Shell(self.settings.home)(*arguments, code=code)

    async def reconciled(self) -> ReconcileReport:
        """Ledger against chain, once nothing is under way any more."""

        async def settled() -> bool:
            return not await self.ledger.payments.open_attempts()

        await until(settled)
        marks = Checkpoint(network=self.settings.network)
        async with NodeRpc(self.addresses.solana_rpc, self.settings.network) as rpc:
            chain = SolanaHistory(rpc, page=3)
            report = await ReconcileRun(self.ledger.reconciliation, chain, self.settings.network, marks).run()
        assert report.ok, report
        assert report.unresolved == ()
        assert report.spent_chain == report.spent_ledger
        return report


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for it, not for ever."""
    deadline = time.monotonic() + PATIENCE_S
    while not await condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


@asynccontextmanager
async def open_town(home: Path) -> AsyncIterator[Town]:
    """The stack, its worker, and the agent with a session of 1 USDC."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOPAY_HOME", str(home))
        patch.setenv("AUTOPAY_CONTENT_ASK_S", "1")  # else a test would wait for minutes until a request ends without
        stack = Stack(home, slot_ms=50, workers=1, ephemeral=True, report=lambda _: None)
        async with stack as addresses:
            settings = Settings.load(home=home).resolve()
            client, ledger = await connect(settings), open_ledger(addresses.database_url)
            town = Town(stack, addresses, settings, ledger, client)
            order = LaunchOrder(
                name=town.agent,
                phase=Phase.FULL,
                currencies=(Currency.USDC,),
                allowance_atomic=1_000_000,
                tx_limit=1_000,
                duration_s=3_600,
            )
            vault = Vault(Keyring.parse(settings.keyring.get_secret_value()))
            await launch_agent(settings, ledger, client, vault, order)
            yield town
            await ledger.dispose()
