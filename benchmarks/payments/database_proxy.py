"""Counts what a client asks of PostgreSQL: a proxy that reads the messages which pass through it.

Message formats: PostgreSQL's documentation, "Frontend/Backend Protocol", "Message Formats". A round trip is a Sync or a
simple Query, which the server answers with ReadyForQuery; a statement is an Execute or a simple Query; a transaction
ends when ReadyForQuery says idle after one that ran something. An empty Query is a pool that asks if its connection
lives.
"""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

UNTYPED = frozenset({80877103, 80877104, 80877102})
"""SSLRequest, GSSENCRequest, CancelRequest: before the start of a session, without a type."""

EMPTY = b"\0"
BLOCK = 65_536


@dataclass
class DatabaseCalls:
    """What passed since the start."""

    round_trips: int = 0
    statements: int = 0
    transactions: int = 0
    notifies: int = 0
    pings: int = 0


class _Session:
    """What one connection has asked since the server was last ready."""

    def __init__(self, calls: DatabaseCalls) -> None:
        self._calls = calls
        self._ran = False

    def asked(self, kind: bytes, body: bytes) -> None:
        """A message of the client."""
        if kind == b"Q" and body == EMPTY:
            self._calls.pings += 1
        elif kind in (b"Q", b"E"):
            self._calls.statements += 1
            self._ran = True
        if kind in (b"Q", b"S"):
            self._calls.round_trips += 1
        if kind in (b"Q", b"P") and b"NOTIFY" in body[:200]:
            self._calls.notifies += 1

    def answered(self, kind: bytes, body: bytes) -> None:
        """A message of the server."""
        if kind == b"Z" and body == b"I" and self._ran:
            self._calls.transactions += 1
            self._ran = False


@asynccontextmanager
async def database_proxy(socket_path: str, calls: DatabaseCalls) -> AsyncIterator[int]:
    """A port of the loopback that leads to that unix socket; what passes is counted in `calls`."""
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            await _pass_on(reader, writer, socket_path, _Session(calls))
        finally:
            writer.close()
            serving.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tuple(serving):
            task.cancel()


async def _pass_on(
    client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter, socket_path: str, session: _Session
) -> None:
    server_in, server_out = await asyncio.open_unix_connection(socket_path)
    back: asyncio.Task[None] | None = None
    try:
        while True:  # what has no type yet
            length = await client_in.readexactly(4)
            body = await client_in.readexactly(struct.unpack("!I", length)[0] - 4)
            server_out.write(length + body)
            if struct.unpack("!I", body[:4])[0] not in UNTYPED:
                break
            await server_out.drain()
            client_out.write(await server_in.readexactly(1))
            await client_out.drain()
        back = asyncio.create_task(_messages(server_in, client_out, session.answered))
        await _messages(client_in, server_out, session.asked)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        if back is not None:
            back.cancel()
        server_out.close()


async def _messages(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Callable[[bytes, bytes], None]
) -> None:
    """Pass on each message, and tell of it. Ends with the connection."""
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        buffer = b""
        while block := await reader.read(BLOCK):
            writer.write(block)
            buffer = _tell(buffer + block, seen)
            await writer.drain()


def _tell(buffer: bytes, seen: Callable[[bytes, bytes], None]) -> bytes:
    """Tell of each whole message; what is left."""
    at = 0
    while len(buffer) - at >= 5:
        end = at + 1 + struct.unpack_from("!I", buffer, at + 1)[0]
        if end > len(buffer):
            break
        seen(buffer[at : at + 1], buffer[at + 5 : end])
        at = end
    return buffer[at:]
