"""`autopay mcp` on a running stack, with the SDK's own client: over stdio and HTTP, and killed in the middle."""

import asyncio
import re
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import httpx2
import psutil
import pytest
from mcp.client import Client
from mcp.client.session import ElicitationFnT
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import ElicitResult

from autopay.adapters.postgres import PostgresLedger, open_ledger
from autopay.client.async_client import AsyncClient
from autopay.domain.errors import UnknownRequest
from autopay.domain.request import x402_request_id
from autopay.mcp.http import http_app, serve
from autopay.mcp.server import Options, build_server
from autopay.settings import Settings
from autopay.settings.stack_file import StackFile
from examples.mcp_client import buy
from tests.stack.shell import Shell
from tests.stack.town import FEED, SLOW_MS, until

AGENT = "by-tools"


@dataclass
class Shop:
    """A stack with an agent, and the paid API that it buys from."""

    shell: Shell
    ledger: PostgresLedger
    api: str

    @property
    def feed(self) -> str:
        """A paid address."""
        return self.api + FEED

    @property
    def command(self) -> list[str]:
        """How the server is started."""
        return [sys.executable, "-m", "autopay", "mcp", "--agent", AGENT, "--home", str(self.shell.home)]

    async def is_sent(self, request_id: str) -> bool:
        """Whether its payment has left."""
        try:
            last = (await self.ledger.payments.recall(x402_request_id(AGENT, request_id))).last
        except UnknownRequest:
            return False
        return last is not None and last.sends > 0

    async def answers_after(self, latency_ms: int) -> None:
        """Have the seller take that long for each answer from now on."""
        async with httpx.AsyncClient(trust_env=False) as http:
            (await http.put(f"{self.api}/weather", json={"latency_ms": latency_ms})).raise_for_status()

    async def payments(self, request_id: str) -> int:
        """How many payments were signed for it."""
        return len((await self.shell.json("show", request_id, "--agent", AGENT))["payments"])


@pytest.fixture(scope="module")
async def shop(common_stack: StackFile) -> AsyncIterator[Shop]:
    home = Path(common_stack.home)
    shell = Shell(home)
    await shell("launch", AGENT, "--phase", "full", "--allowance", "0.1", "--tx-limit", "100")
    ledger = open_ledger(Settings.load(home=home).resolve().database_url)
    shop = Shop(shell, ledger, common_stack.market_api)
    yield shop
    await shop.answers_after(0)
    await ledger.dispose()


async def killed_in_the_middle(
    shop: Shop, client: Client, request_id: str, kill: Callable[[], Awaitable[None]]
) -> None:
    """Call `fetch`, and kill the server when the payment has left and no answer has come."""
    await shop.answers_after(SLOW_MS)
    calling = asyncio.create_task(client.call_tool("fetch", {"url": shop.feed, "id": request_id, "max_price": "0.01"}))
    await until(lambda: shop.is_sent(request_id))
    assert not calling.done()
    await kill()
    with pytest.raises(MCPError, match="closed"):
        await calling


async def test_a_server_over_stdio_killed_in_a_payment_pays_once_and_its_answer_comes(shop: Shop) -> None:
    before = set(psutil.Process().children())

    async def kill() -> None:
        (server,) = set(psutil.Process().children()) - before
        server.kill()

    command, *words = shop.command
    async with Client(StdioServerParameters(command=command, args=words)) as client:
        await killed_in_the_middle(shop, client, "stdio-1", kill)
    await shop.answers_after(0)
    answer: Any = await buy(shop.feed, "stdio-1", AGENT, "0.01", str(shop.shell.home))
    assert (answer["status"], answer["price"], answer["currency"]) == ("delivered", "0.001", "USDC")
    assert answer["transaction"]
    assert await shop.payments("stdio-1") == 1
    assert "quotes" in answer["content"]["text"]


@asynccontextmanager
async def http_server(shop: Shop, token_file: Path) -> AsyncIterator[tuple[Process, str]]:
    """The server over HTTP at a free port, and its URL."""
    process = await asyncio.create_subprocess_exec(
        *shop.command, "--http", "--port", "0", "--token-file", str(token_file), stdin=DEVNULL, stderr=PIPE
    )
    assert process.stderr is not None
    try:
        line = (await asyncio.wait_for(process.stderr.readline(), 60)).decode()
        found = re.search(r"http://\S+/mcp", line)
        assert found is not None, line
        yield process, found[0]
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@asynccontextmanager
async def served_here(shop: Shop, token: str) -> AsyncIterator[str]:
    """The server over HTTP in this process, where it starts at once."""
    url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    async with AsyncClient(AGENT, home=shop.shell.home) as buyer:
        app = http_app(build_server(buyer, Options(one_client=False)), token)
        serving = asyncio.create_task(serve(app, ("127.0.0.1", 0), url.set_result))
        try:
            yield await url
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)


@asynccontextmanager
async def http_client(url: str, token: str) -> AsyncIterator[Client]:
    """The SDK's client with the token."""
    async with (
        create_mcp_http_client({"Authorization": f"Bearer {token}"}) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        yield client


async def test_a_server_over_http_killed_in_a_payment_pays_once_and_its_answer_comes(
    shop: Shop, tmp_path: Path
) -> None:
    token_file = tmp_path / "token"
    async with http_server(shop, token_file) as (process, url):
        token = token_file.read_text().strip()

        async def kill() -> None:
            process.kill()

        # The SDK's client ends as a whole when its server breaks off, in the middle of the call.
        with pytest.RaisesGroup(httpx2.TransportError, flatten_subgroups=True):
            async with http_client(url, token) as client:
                await killed_in_the_middle(shop, client, "http-1", kill)
    await shop.answers_after(0)
    async with served_here(shop, token) as url, http_client(url, token) as client:
        result = await client.call_tool("fetch", {"url": shop.feed, "id": "http-1", "max_price": "0.01"})
        answer = result.structured_content
        assert answer is not None, result
        assert answer["status"] == "delivered"
        assert await shop.payments("http-1") == 1
        listed = (await client.call_tool("purchases", {"since": "1h"})).structured_content
        assert listed is not None
        assert [each["transaction"] for each in listed["payments"] if each["id"] == "http-1"] in (
            [answer["transaction"]],
            [None],  # the chain has not shown it yet
        )


async def test_a_person_is_asked_by_the_client_and_the_payment_is_the_one_that_was_shown(shop: Shop) -> None:
    name = "asks"
    await shop.shell("launch", name, "--phase", "interactive", "--allowance", "0.1")
    shown: list[str] = []

    def person(approve: bool) -> ElicitationFnT:
        async def answer(context: Any, params: Any) -> ElicitResult:
            shown.append(params.message)
            return ElicitResult(action="accept", content={"approve": approve})

        return answer

    async with AsyncClient(name, home=shop.shell.home) as buyer:
        server = build_server(buyer, Options())
        async with Client(server, mode="legacy", elicitation_callback=person(approve=False)) as client:
            denied = await client.call_tool("fetch", {"url": shop.feed, "id": "first"})
        async with Client(server, elicitation_callback=person(approve=True)) as client:
            bought = await client.call_tool("fetch", {"url": shop.feed, "id": "second"})
    assert denied.structured_content is not None
    assert (denied.is_error, denied.structured_content["error"]["type"]) == (True, "approval_denied")
    assert bought.structured_content is not None
    assert bought.structured_content["status"] == "delivered"
    assert "0.001 USDC" in shown[1]
    assert bought.structured_content["pay_to"] in shown[1]
    rows = {each["terms"]["request_id"]: each["status"] for each in await shop.shell.json("approvals", name, "--all")}
    assert rows == {"first": "DENIED", "second": "CONSUMED"}
