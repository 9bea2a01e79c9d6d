"""Counts what a client asks of a Solana node: a proxy that looks for the names of JSON-RPC methods in what passes."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

METHOD = re.compile(rb'"method"\s*:\s*"(\w+)"')
LONGEST = 80
"""Bytes that a match can have: so much is kept for the next block."""

BLOCK = 65_536


@asynccontextmanager
async def node_proxy(rpc_url: str, calls: Counter[str]) -> AsyncIterator[str]:
    """The URL of a proxy to that node; each call is counted in `calls`, by its method."""
    target = urlsplit(rpc_url)
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        node_in, node_out = await asyncio.open_connection(target.hostname, target.port)
        back = asyncio.create_task(_copy(node_in, writer))
        try:
            await _copy(reader, node_out, calls)
        finally:
            back.cancel()
            node_out.close()
            writer.close()
            serving.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tuple(serving):
            task.cancel()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, calls: Counter[str] | None = None) -> None:
    kept = b""
    with suppress(ConnectionError):
        while block := await reader.read(BLOCK):
            writer.write(block)
            if calls is not None:
                kept = _count(kept + block, calls)
            await writer.drain()


def _count(text: bytes, calls: Counter[str]) -> bytes:
    """Count the methods in the text; what may be the begin of one more is returned."""
    end = 0
    for found in METHOD.finditer(text):
        calls[found.group(1).decode()] += 1
        end = found.end()
    return text[end:][-LONGEST:]
