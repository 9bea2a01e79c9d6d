"""An MCP server with a tool that costs money, on the official SDKs of MCP and x402: 0.002 USDC a call.

    python docs/examples/mcp_seller.py --facilitator http://127.0.0.1:8402 --pay-to ADDRESS --port 8502

`--pay-to` needs a token account for USDC. It is bought from like any paid API, by the URL with the tool's name:

    autopay request 'http://127.0.0.1:8502/mcp#mcp-tool=report' --json-body '{"topic": "fees"}'
"""

import argparse
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import CallToolResult, TextContent
from starlette.applications import Starlette
from x402 import x402ResourceServer
from x402.http import FacilitatorConfig, HTTPFacilitatorClient
from x402.mcp.server_async import PaymentWrapperConfig, create_payment_wrapper
from x402.mcp.types import MCPToolResult
from x402.mechanisms.svm.exact import register_exact_svm_server
from x402.schemas import ResourceConfig

NETWORK = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"  # devnet, which the embedded chain stands in for


def build_app(facilitator_url: str, pay_to: str) -> Starlette:
    """The server over streamable HTTP, at `/mcp`."""
    facilitator = HTTPFacilitatorClient(FacilitatorConfig(url=facilitator_url))
    payments = x402ResourceServer(facilitator)
    register_exact_svm_server(payments, NETWORK)
    payments.initialize()
    price = ResourceConfig(scheme="exact", network=NETWORK, pay_to=pay_to, price="$0.002")
    wrapped = create_payment_wrapper(payments, PaymentWrapperConfig(accepts=payments.build_payment_requirements(price)))

    async def make(arguments: dict[str, Any], context: Any) -> MCPToolResult:  # noqa: ARG001 - x402's signature
        return MCPToolResult(
            content=[{"type": "text", "text": json.dumps({"topic": arguments["topic"], "fees": 5000})}]
        )

    made: Any = wrapped(make)
    server = MCPServer("reports", log_level="WARNING")

    async def report(topic: str, ctx: Context) -> CallToolResult:
        """A report on a topic. It costs 0.002 USDC."""
        meta = dict((ctx.request_context.params or {}).get("_meta") or {})
        result = await made({"topic": topic}, {"_meta": meta, "toolName": "report"})
        return CallToolResult(
            content=[TextContent(**each) for each in result.content],
            structured_content=result.structured_content,
            is_error=result.is_error,
            _meta=result.meta,
        )

    server.add_tool(report)
    app: Starlette = server.streamable_http_app()
    while_running = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[Any]:
        async with while_running(app) as state, facilitator:
            yield state

    app.router.lifespan_context = lifespan
    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--facilitator", required=True)
    parser.add_argument("--pay-to", required=True)
    parser.add_argument("--port", type=int, default=8502)
    given = parser.parse_args()
    uvicorn.run(build_app(given.facilitator, given.pay_to), port=given.port)
