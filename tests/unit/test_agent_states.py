"""What Temporal says of agents' workflows, and that it is not waited for without an end."""

import asyncio
from datetime import timedelta
from typing import Any, cast

import pytest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from autopay.client.agents.states import states_of
from autopay.client.errors import Unreachable


class SilentTemporal:
    """A server that answers nothing: who sets a limit gets its end, as of the SDK, and who does not waits for ever."""

    def __init__(self) -> None:
        self.limits: list[timedelta] = []

    def get_workflow_handle(self, _: str) -> "SilentTemporal":
        return self

    async def describe(self, *, rpc_timeout: timedelta | None = None) -> Any:
        if rpc_timeout is None:
            await asyncio.Event().wait()
        else:
            self.limits.append(rpc_timeout)
        raise RPCError("Timeout expired", RPCStatusCode.DEADLINE_EXCEEDED, b"")


async def test_temporal_has_five_seconds_to_describe_a_workflow() -> None:
    temporal = SilentTemporal()
    async with asyncio.timeout(60):
        with pytest.raises(Unreachable, match="Timeout expired"):
            await states_of(cast(Client, temporal), ["one", "two"])
    assert set(temporal.limits) == {timedelta(seconds=5)}
