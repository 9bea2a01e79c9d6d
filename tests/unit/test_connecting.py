"""Connecting to a Temporal that takes connections and says nothing."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from autopay.adapters.vault import Keyring
from autopay.client.requests.connections import Connections
from autopay.settings import Settings
from autopay.temporal import connection
from autopay.temporal.connection import TemporalUnreachable


@pytest.fixture
async def silent(monkeypatch: pytest.MonkeyPatch, no_settings: None) -> AsyncIterator[list[str]]:
    """A server at TEMPORAL_ADDRESS that never answers; the list has a word for each connection."""
    came: list[str] = []

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append("connected")
        while await reader.read(1_000):
            pass
        writer.close()

    server = await asyncio.start_server(keep, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    monkeypatch.setenv("TEMPORAL_ADDRESS", f"{host}:{port}")
    monkeypatch.setattr(connection, "CONNECT_S", 0.3)
    yield came
    server.close()


async def test_a_temporal_that_says_nothing_is_unreachable_for_all_who_wait_for_it(silent: list[str]) -> None:
    values = {"database_url": "postgresql://127.0.0.1:1/none", "keyring": Keyring.generate().dump()}
    connections = Connections(Settings.load(**values).resolve("database_url", "keyring"))
    async with asyncio.timeout(60):
        waiting = [asyncio.create_task(connections.temporal()) for _ in range(20)]
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(each) for each in ended} == {TemporalUnreachable}
        assert "no answer within 0.3 s" in str(ended[0])
        assert len(silent) == 1, "one attempt for all of them"
        with pytest.raises(TemporalUnreachable):
            await connections.temporal()
        assert len(silent) == 2, "the next one who asks tries again"
        left = asyncio.create_task(connections.temporal())
        await asyncio.sleep(0)
        await connections.close()
        with pytest.raises((asyncio.CancelledError, TemporalUnreachable)):
            await left
