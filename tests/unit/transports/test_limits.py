"""The limits of the transports: of sizes, of times, and of what a call may say."""

import gzip
import math
import tracemalloc
from typing import Any

import httpx
import httpx2
import pytest
import requests

from autopay.client.errors import (
    InvalidCall,
)
from autopay.domain.request import RequestStatus
from tests.unit.bought import MemoryBackend
from tests.unit.transports.doors import DEMAND, DEMAND_HEADERS, Answered, Door, OpenDoor, Seller

pytestmark = pytest.mark.usefixtures("backend")


async def test_a_demand_is_not_unpacked_beyond_what_a_demand_can_be(
    open_door: OpenDoor, backend: MemoryBackend
) -> None:
    packed = gzip.compress(bytes(80_000_000))
    door = await open_door(Answered(402, {**DEMAND_HEADERS, "content-encoding": "gzip"}, packed))
    backend.ends = [{"status": RequestStatus.REFUSED, "content": None}]
    tracemalloc.start()
    try:
        with pytest.raises(door.base_error):
            await door.call()
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 20_000_000


async def test_a_request_that_is_too_large_when_it_is_sealed_is_passed_on(
    open_door: OpenDoor, backend: MemoryBackend
) -> None:
    backend.ends = [InvalidCall("headers and body are too large", "too_large")]
    door = await open_door(DEMAND)
    seen = await door.call(headers={"x-long": "y" * 9})
    assert (seen.status, seen.receipt.type) == (402, "too_large")


async def test_a_stream_that_is_longer_than_can_be_paid_for_is_sent_and_not_kept(
    open_door: OpenDoor, backend: MemoryBackend
) -> None:
    door = await open_door(DEMAND)
    seen = await door.call(method="POST", body=door.stream_of(*([b"x" * 50_000] * 10)))
    assert (seen.status, seen.receipt.type, len(door.seller.asked[0].body)) == (402, "too_large", 500_000)


@pytest.mark.parametrize(
    ("timeout", "waits_s"),
    [
        pytest.param(None, 120, id="the library's own"),
        pytest.param(2, 120, id="a short one is meant for plain answers"),
        pytest.param(600, 600, id="a long one"),
        pytest.param((3, 300), 300, id="a pair"),
    ],
)
async def test_the_wait_for_a_paid_answer_follows_the_read_timeout_when_that_is_longer(
    open_door: OpenDoor, backend: MemoryBackend, timeout: Any, waits_s: float
) -> None:
    door = await open_door(DEMAND)
    if isinstance(timeout, tuple) and door.name != "requests":
        timeout = door.library.Timeout(timeout[0], read=timeout[1])
    await door.call(timeout=timeout)
    assert backend.asks[0].timeout_s == waits_s


async def test_a_timeout_of_the_transport_or_the_request_goes_before(
    open_door: OpenDoor, backend: MemoryBackend
) -> None:
    door = await open_door(DEMAND, timeout=7)
    await door.call(timeout=600)
    await door.call(says={"timeout": 9})
    assert [ask.timeout_s for ask in backend.asks] == [7, 9]


@pytest.mark.parametrize(
    "says",
    [
        pytest.param({"maxprice": "0.01"}, id="a name that there is not"),
        pytest.param({"max_price": 0.01}, id="a price that is not exact"),
        pytest.param({"max_price": "much"}, id="a price that is none"),
        pytest.param({"max_price": "0"}, id="a price of nothing"),
        pytest.param({"currency": "EUR"}, id="a currency"),
        pytest.param({"max_age": "soon"}, id="an age"),
        pytest.param({"max_age": "-1"}, id="an age before now"),
        pytest.param({"timeout": "long"}, id="a time-out"),
        pytest.param({"timeout": math.inf}, id="no end"),
    ],
)
async def test_what_means_nothing_sends_nothing(
    open_door: OpenDoor, backend: MemoryBackend, says: dict[str, object]
) -> None:
    door = await open_door(DEMAND)
    if door.name == "requests" and says == {"max_price": 0.01}:
        pytest.skip("a header is a text")
    with pytest.raises(door.module.InvalidPayment) as raised:
        await door.call(says=says)
    assert raised.value.type == "invalid_call"
    assert (door.seller.asked, backend.asks) == ([], [])


@pytest.mark.parametrize("given", [7, "text", {"id": 7}, {"id": ""}, ["id"]])
@pytest.mark.parametrize("library", ["httpx", "httpx2"])
async def test_extensions_of_another_shape_send_nothing(library: str, given: Any) -> None:
    async with Door(library, Seller([DEMAND]), is_async=True) as door:
        with pytest.raises(door.module.InvalidPayment):
            await door.call(says=given)
        assert door.seller.asked == []


@pytest.mark.parametrize("agent", ["", "a b", "x" * 61])
@pytest.mark.parametrize("make", [httpx, httpx2, requests])
def test_a_name_that_no_agent_has_is_refused_at_once(agent: str, make: Any) -> None:
    module: Any = __import__(f"autopay.{make.__name__}", fromlist=["Transport"])
    kind = module.Adapter if make is requests else module.Transport
    with pytest.raises(InvalidCall, match="cannot be an agent's name"):
        kind(agent)
    with pytest.raises(InvalidCall, match="max_price"):
        kind("research", max_price=0.1)
