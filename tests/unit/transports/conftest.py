"""A door before sellers of a test's own, and what buys behind it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.unit.bought import MemoryBackend
from tests.unit.transports.doors import Answered, Door, OpenDoor, Seller

DOORS = [
    pytest.param(("httpx", False), id="httpx"),
    pytest.param(("httpx", True), id="httpx async"),
    pytest.param(("httpx2", False), id="httpx2"),
    pytest.param(("httpx2", True), id="httpx2 async"),
    pytest.param(("requests", False), id="requests"),
]


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> MemoryBackend:
    """What every client of these tests buys by."""
    backend = MemoryBackend()
    monkeypatch.setattr("autopay.client.async_client.open_backend", lambda *_, **__: backend)
    return backend


@pytest.fixture(params=DOORS)
async def open_door(request: pytest.FixtureRequest) -> AsyncIterator[OpenDoor]:
    """Opens this test's door before sellers of its own."""
    name, is_async = request.param
    async with AsyncExitStack() as stack:

        async def opened(*answers: Answered, **arguments: Any) -> Door:
            return await stack.enter_async_context(Door(name, Seller([*answers]), is_async=is_async, **arguments))

        yield opened
