"""The gateway on a running stack: callers in any language, killed in mid-call, and a gateway killed in mid-call."""

import asyncio
import json
import shutil
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from autopay.adapters.postgres import PostgresLedger, open_ledger
from autopay.client import AsyncClient
from autopay.domain.errors import UnknownRequest
from autopay.domain.report.filter import Filter
from autopay.domain.request import x402_request_id
from autopay.settings import Settings
from autopay.settings.stack_file import StackFile
from tests.stack.shell import Shell
from tests.stack.town import SLOW_MS, until
from tests.stack.up import PATIENCE_S, STARTER, clean_environment

ROOT = Path(__file__).parents[2]
AGENT = "by-gateway"
TOKEN = "a-token-of-the-tests"

CALLER = """
import json, sys, urllib.request
url, token, order = sys.argv[1:]
asked = urllib.request.Request(url + "/fetch", order.encode(), {"Autopay-Token": token})
answer = urllib.request.urlopen(asked)
print(json.dumps([answer.headers["Autopay-Transaction"], len(answer.read())]))
"""
"""A program of somebody who has never heard of us."""


@dataclass
class Scene:
    """A stack with an agent, and the addresses of a seller."""

    home: Path
    market: str
    ledger: PostgresLedger

    async def is_paid_once(self, request_id: str, transaction: str) -> bool:
        """Whether the chain has shown its payment to be that transaction; there must never be a second one."""
        page = await self.ledger.reports.payments(Filter(agent=AGENT), after=None, limit=200)
        [payment] = [row for row in page.rows if row.request_id == request_id]
        return payment.hash == transaction

    async def is_sent(self, request_id: str) -> bool:
        """Whether its payment is on its way to the seller."""
        try:
            attempt = (await self.ledger.payments.recall(x402_request_id(AGENT, request_id))).last
        except UnknownRequest:
            return False
        return attempt is not None and attempt.sends > 0

    @asynccontextmanager
    async def slow_seller(self) -> AsyncIterator[None]:
        """While inside, the seller takes long enough for a test to act between a signature and the answer."""
        async with httpx.AsyncClient(trust_env=False) as http:
            (await http.put(f"{self.market}/weather", json={"latency_ms": SLOW_MS})).raise_for_status()
            try:
                yield
            finally:
                (await http.put(f"{self.market}/weather", json={})).raise_for_status()


@pytest.fixture(scope="module")
async def scene(common_stack: StackFile) -> AsyncIterator[Scene]:
    home = Path(common_stack.home)
    ledger = open_ledger(Settings.load(home=home).resolve().database_url)
    await Shell(home)("launch", AGENT, "--phase", "full", "--allowance", "0.1", "--tx-limit", "100")
    yield Scene(home, common_stack.market_api, ledger)
    await ledger.dispose()


async def started(home: Path, *arguments: str, last: Sequence[str] = ()) -> Process:
    """A command as a process, which has the token."""
    return await asyncio.create_subprocess_exec(
        sys.executable, str(STARTER), *arguments, "--home", str(home), *last,
        stdin=DEVNULL, stdout=PIPE, env=clean_environment() | {"AUTOPAY_GATEWAY_TOKEN": TOKEN},
    )  # fmt: skip


async def gateway(home: Path, port: int) -> tuple[Process, str]:
    """A gateway that takes calls, and its address."""
    process = await started(home, "gateway", "--agent", AGENT, "--port", str(port), "--json")
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), PATIENCE_S)
    assert line
    said = json.loads(line)
    assert said["token"] is None
    return process, said["url"]


async def caller(url: str, order: dict[str, object]) -> Process:
    """The stranger's program with that order."""
    words = (sys.executable, "-c", CALLER, url, TOKEN, json.dumps(order))
    return await asyncio.create_subprocess_exec(*words, stdout=PIPE, env=clean_environment())


async def ended(process: Process, number: signal.Signals) -> int:
    """Send the signal, and return how it ended."""
    process.send_signal(number)
    await asyncio.wait_for(process.communicate(), PATIENCE_S)
    assert process.returncode is not None
    return process.returncode


async def test_a_caller_and_a_gateway_killed_in_mid_call_pay_once(scene: Scene) -> None:
    process, url = await gateway(scene.home, 0)
    port = int(url.rpartition(":")[2])
    order: dict[str, object] = {"url": f"{scene.market}/api/market-feed?killed=caller", "id": "caller-killed"}
    client = AsyncClient(AGENT, gateway=url, token=TOKEN)
    async with scene.slow_seller(), client:
        first = await caller(url, order)
        await until(lambda: scene.is_sent("caller-killed"))
        assert await ended(first, signal.SIGKILL) == -signal.SIGKILL

        asking = client.fetch(f"{scene.market}/api/market-feed?killed=gateway", id="gateway-killed")
        waiting = asyncio.create_task(asking)
        await until(lambda: scene.is_sent("gateway-killed"))
        assert await ended(process, signal.SIGKILL) == -signal.SIGKILL
        process, again = await gateway(scene.home, port)
        assert again == url
        bought = await waiting

    second = await caller(url, order)
    out, _ = await asyncio.wait_for(second.communicate(), PATIENCE_S)
    transaction, size = json.loads(out)
    assert size > 0
    assert bought.transaction is not None
    await until(lambda: scene.is_paid_once("caller-killed", transaction))
    await until(lambda: scene.is_paid_once("gateway-killed", bought.transaction or ""))
    assert await ended(process, signal.SIGTERM) == 0


@pytest.mark.skipif(shutil.which("curl") is None, reason="the example is for curl")
async def test_a_script_with_curl_buys_by_a_gateway_of_its_own_and_ends_by_its_own_signals(scene: Scene) -> None:
    feed, example = f"{scene.market}/api/market-feed?by=curl", ROOT / "examples" / "from_any_language.sh"
    script = f"sh {example} '{feed}'; trap 'exit 7' TERM; echo up; while :; do sleep 0.1; done"
    process = await started(
        scene.home, "run", "--agent", AGENT, "--max-price", "0.01", "--base-url", f"MARKET={scene.market}/api",
        last=("--", "sh", "-c", script),
    )  # fmt: skip
    assert process.stdout is not None
    lines = [(await asyncio.wait_for(process.stdout.readline(), PATIENCE_S)).decode().split() for _ in range(5)]
    (_, transaction), again, (_, other), refused, up = lines
    assert (again, refused, up) == (["again", transaction], ["refused", "price_above_maximum"], ["up"])
    assert other != transaction
    await until(lambda: scene.is_paid_once("curl-1", transaction))
    assert await ended(process, signal.SIGTERM) == 7
