"""Paying for a tool of an MCP server that is on the official SDKs of MCP and x402: once, whatever is lost."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.responses import Response

from autopay.client.async_client import AsyncClient
from autopay.settings.stack_file import StackFile
from docs.examples.mcp_seller import build_app
from localnet.sellers.__main__ import open_business
from tests.stack.shell import Shell

AGENT = "buys-tools"


@dataclass
class Reports:
    """The server; it loses as many paid calls as `loses` says before it takes one. `paid` are the payments it heard."""

    app: Any
    loses: int = 0
    paid: list[str] = field(default_factory=list)
    url: str = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One connection of the ASGI server."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        whole, more = b"", True
        while more:
            message = await receive()
            whole, more = whole + message.get("body", b""), message.get("more_body", False)
        payment = json.loads(whole).get("params", {}).get("_meta", {}).get("x402/payment")
        if payment is not None:
            self.paid.append(payment["payload"]["transaction"])
            if self.loses > 0:
                self.loses -= 1
                await Response(status_code=503)(scope, receive, send)
                return

        read = [{"type": "http.request", "body": whole, "more_body": False}]

        async def again() -> Any:
            return read.pop() if read else await receive()

        await self.app(scope, again, send)


@pytest.fixture(scope="module")
async def reports(common_stack: StackFile, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Reports]:
    pay_to = await open_business(common_stack.solana_rpc, tmp_path_factory.mktemp("reports") / "key.json")
    server = Reports(await asyncio.to_thread(build_app, common_stack.facilitator, pay_to))
    listening = socket.create_server(("127.0.0.1", 0))
    server.url = f"http://127.0.0.1:{listening.getsockname()[1]}/mcp#mcp-tool=report"
    http = uvicorn.Server(uvicorn.Config(server, log_level="error", timeout_graceful_shutdown=2))
    running = asyncio.create_task(http.serve(sockets=[listening]))
    yield server
    http.should_exit = True
    await running


@pytest.fixture(scope="module")
async def shell(common_stack: StackFile) -> Shell:
    shell = Shell(Path(common_stack.home))
    await shell("launch", AGENT, "--phase", "full", "--allowance", "0.1", "--tx-limit", "100")
    return shell


async def test_a_tool_is_paid_once_for_its_arguments(shell: Shell, reports: Reports) -> None:
    request = ["request", reports.url, "--agent", AGENT, "--max-price", "0.01"]
    fees = ["--json-body", '{"topic": "fees"}']
    first = await shell.json(*request, "--id", "tool-1", *fees)
    assert (first["status"], first["price"], first["currency"]) == ("delivered", "0.002000", "USDC")
    content = json.loads((await shell(*request, "--id", "tool-1", *fees))[0])
    assert json.loads(content["content"][0]["text"]) == {"topic": "fees", "fees": 5000}
    assert len(reports.paid) == 1, "the second time it came from the ledger"
    other = await shell.json(*request, "--id", "tool-1", "--json-body", '{"topic": "blocks"}', code=2)
    assert other["error"]["type"] == "terms_differ"
    dear = await shell.json("request", reports.url, "--agent", AGENT, "--max-price", "0.0001", *fees, code=3)
    assert dear["error"]["type"] == "price_above_maximum"


async def test_a_paid_call_that_is_lost_goes_again_with_the_same_payment(shell: Shell, reports: Reports) -> None:
    reports.paid.clear()
    reports.loses = 1
    body = '{"topic": "losses"}'
    result = await shell.json("request", reports.url, "--agent", AGENT, "--id", "tool-2", "--json-body", body)
    assert (result["status"], result["attempts"]) == ("delivered", 1)
    assert len(reports.paid) == 2
    assert len(set(reports.paid)) == 1
    shown = await shell.json("show", "tool-2", "--agent", AGENT)
    (payment,) = shown["payments"]
    assert payment["sends"] == 2


async def test_a_quote_of_a_tool_costs_nothing(shell: Shell, reports: Reports) -> None:
    reports.paid.clear()
    async with AsyncClient(AGENT, home=shell.home) as client:
        quote = await client.quote(reports.url, json={"topic": "fees"})
    assert (str(quote.price), quote.affordable, reports.paid) == ("0.002", True, [])
