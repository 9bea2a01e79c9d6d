"""A new build of the workers takes over: agents move to it, payments under way end where they began."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from temporalio.client import Client

from autopay.adapters.postgres import PostgresLedger, open_ledger
from autopay.cli.app import run
from autopay.domain.request import RequestStatus, agent_workflow_id, payment_workflow_id, x402_request_id
from autopay.settings import Settings
from autopay.temporal.connection import connect
from localnet.stack import Stack

PATIENCE_S = 60
SLOW_MS = 3_000
AGENT = "moves"


@dataclass
class Shop:
    """A stack whose workers have builds; `market` is a paid API."""

    stack: Stack
    home: Path
    market: str
    client: Client
    ledger: PostgresLedger
    patch: pytest.MonkeyPatch

    async def command(self, *arguments: str) -> None:
        """Run a command that must work."""
        assert await asyncio.to_thread(run, [*arguments, "--home", str(self.home)]) == 0

    async def start(self, build: str) -> str:
        """Start a worker of that build; its name."""
        self.patch.setenv("AUTOPAY_BUILD_ID", build)
        (name,) = await self.stack.start_workers(1)
        self.patch.delenv("AUTOPAY_BUILD_ID")
        return name

    async def build_of(self, workflow_id: str) -> str:
        """The build that the newest run of a workflow belongs to."""
        described = await self.client.get_workflow_handle(workflow_id).describe()
        return described.raw_description.workflow_execution_info.versioning_info.deployment_version.build_id

    async def weather(self, **faults: object) -> None:
        async with httpx.AsyncClient(trust_env=False) as http:
            (await http.put(f"{self.market}/weather", json=faults)).raise_for_status()

    async def bought(self) -> int:
        """Payments of the agent that brought their content."""
        return sum(row.delivery == "DELIVERED" for row in await self.ledger.reports.timeline(AGENT, limit=1_000))


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for it, not for ever."""
    deadline = time.monotonic() + PATIENCE_S
    while not await condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


@pytest.fixture
async def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shop]:
    home = tmp_path / "home"
    monkeypatch.setenv("AUTOPAY_HOME", str(home))
    stack = Stack(home, slot_ms=50, ephemeral=True, report=lambda _: None)
    async with stack as addresses:
        settings = Settings.load(home=home).resolve()
        ledger = open_ledger(settings.database_url)
        yield Shop(stack, home, addresses.market_api, await connect(settings), ledger, monkeypatch)
        await ledger.dispose()


async def test_a_new_build_takes_over_between_two_purchases(shop: Shop) -> None:
    old = await shop.start("a")
    await shop.command("rollout", "a")
    watch = f"{shop.market}/api/market-feed every=1s"
    await shop.command("launch", AGENT, "--phase", "full", "--tx-limit", "1000", "--watch", watch)

    async def has_bought() -> bool:
        return await shop.bought() > 0

    await until(has_bought)
    assert await shop.build_of(agent_workflow_id(AGENT)) == "a"
    await shop.start("b")
    across = await a_payment_under_way(shop)
    await shop.command("rollout", "b")
    assert not (await shop.ledger.requests.get(across)).closed

    async def has_moved() -> bool:
        return await shop.build_of(agent_workflow_id(AGENT)) == "b"

    await until(has_moved)
    await shop.weather()

    async def has_ended() -> bool:
        return (await shop.ledger.requests.get(across)).closed

    await until(has_ended)
    assert (await shop.ledger.requests.result(across)).status is RequestStatus.DELIVERED
    assert await shop.build_of(payment_workflow_id(AGENT, "across")) == "a"
    await until(lambda: nothing_runs_on(shop, "a"))

    await shop.stack.kill(old, restart=False)
    before = await shop.bought()

    async def buys_on() -> bool:
        return await shop.bought() > before + 1

    await until(buys_on)
    newest = (await shop.ledger.reports.timeline(AGENT, limit=1))[0]
    assert newest.request_id is not None
    assert await shop.build_of(payment_workflow_id(AGENT, newest.request_id)) == "b"
    await shop.command("stop", AGENT, "--wait")
    await shop.command("ledger", "reconcile")


async def a_payment_under_way(shop: Shop) -> str:
    """A request whose payment has left, and whose seller takes its time; its key."""
    await shop.weather(latency_ms=SLOW_MS)
    key = x402_request_id(AGENT, "across")
    asking = ("request", f"{shop.market}/v1/api/market-feed", "--agent", AGENT, "--id", "across", "--timeout", "10ms")
    assert await asyncio.to_thread(run, [*asking, "--home", str(shop.home)]) == 7

    async def has_left() -> bool:
        attempt = (await shop.ledger.payments.recall(key)).last
        return attempt is not None and attempt.sends > 0

    await until(has_left)
    return key


async def nothing_runs_on(shop: Shop, build: str) -> bool:
    """Whether no payment of the agent is open on that build."""
    runs = shop.client.list_workflows("WorkflowType = 'PaidRequest' AND ExecutionStatus = 'Running'")
    return all([await shop.build_of(run.id) != build async for run in runs])
