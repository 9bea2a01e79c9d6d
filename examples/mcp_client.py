"""A program that buys by the tools of `autopay mcp`: `python examples/mcp_client.py URL --id report-7`.

What an LLM agent does through its MCP client, done here by hand: ask for the price, buy, show what came. A payment that
needs a person asks in this terminal.

Kill it at any moment and start it again with the same --id: the data is paid for once, and comes.
"""

import argparse
import asyncio
import sys

from mcp.client import Client
from mcp.client.session import ClientRequestContext
from mcp.client.stdio import StdioServerParameters
from mcp_types import ElicitRequestParams, ElicitResult


async def ask_person(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:  # noqa: ARG001
    """Show the terms, and send what the person types."""
    print(params.message)
    typed = await asyncio.to_thread(input, "Pay it? yes or no: ")
    if typed not in ("yes", "no"):
        return ElicitResult(action="cancel")
    return ElicitResult(action="accept", content={"approve": typed == "yes"})


async def buy(url: str, request_id: str, agent: str, max_price: str, home: str | None = None) -> dict[str, object]:
    """The data at a URL, by a server that is started for it."""
    words = ["-m", "autopay", "mcp", "--agent", agent, *(["--home", home] if home else [])]
    async with Client(
        StdioServerParameters(command=sys.executable, args=words), elicitation_callback=ask_person
    ) as client:
        quote = (await client.call_tool("quote", {"url": url})).structured_content
        print(f"the seller asks for {quote['price']} {quote['currency']}" if quote else "no quote")
        result = await client.call_tool("fetch", {"url": url, "id": request_id, "max_price": max_price})
        answer: dict[str, object] | None = result.structured_content
        if answer is None:
            raise SystemExit(str(result.content))
        return answer


def main() -> None:
    """Read the command line, buy, and show what came."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("url")
    arguments.add_argument("--id", required=True)
    arguments.add_argument("--agent", default="default")
    arguments.add_argument("--max-price", default="0.01")
    arguments.add_argument("--home")
    given = arguments.parse_args()
    answer = asyncio.run(buy(given.url, given.id, given.agent, given.max_price, given.home))
    print(answer["status"], answer["summary"], answer["content"])


if __name__ == "__main__":
    main()
