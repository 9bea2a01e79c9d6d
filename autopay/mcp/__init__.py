"""The MCP server: what an LLM agent buys with, by tools. The command is `mcp`; needs the extra `autopay[mcp]`."""
