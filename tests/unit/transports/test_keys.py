"""Calls with a key, which pays once, and calls that repeat one without a key."""

from typing import Any

import pytest

from autopay.client.errors import (
    AgentNotAnswering,
    AutopayError,
    CallFailed,
    TermsDiffer,
    Unreachable,
)
from autopay.domain.request import RequestStatus, is_request_id
from tests.unit.bought import MemoryBackend
from tests.unit.transports.doors import DEMAND, Answered, OpenDoor

pytestmark = pytest.mark.usefixtures("backend")


async def test_without_a_key_each_call_is_a_purchase_of_its_own(open_door: OpenDoor, backend: MemoryBackend) -> None:
    door = await open_door(DEMAND)
    first, second = await door.call(), await door.call()
    assert first.receipt.id != second.receipt.id
    assert len(backend.paid) == 2
    assert backend.recalled == []


async def test_the_same_key_pays_once_although_the_seller_is_down_now(
    open_door: OpenDoor, backend: MemoryBackend
) -> None:
    door = await open_door(DEMAND)
    first = await door.call(says={"id": "report-7"})
    door.seller.is_down = True
    second = await door.call(headers={"Idempotency-Key": "report-7"})
    assert (first.receipt, first.content) == (second.receipt, second.content)
    assert backend.paid == ["report-7"]
    assert len(door.seller.asked) == 1


async def test_the_same_key_is_answered_although_the_seller_answers_otherwise_now(
    open_door: OpenDoor, backend: MemoryBackend
) -> None:
    door = await open_door(DEMAND, Answered(500))
    await door.call(says={"id": "report-7"})
    assert (await door.call(says={"id": "report-7"})).status == 200


async def test_a_key_that_was_never_used_asks_the_seller(open_door: OpenDoor, backend: MemoryBackend) -> None:
    door = await open_door(Answered(200, {}, b"free"))
    seen = await door.call(says={"id": "report-8"})
    assert (seen.content, seen.receipt, backend.recalled, backend.asks) == (b"free", None, ["report-8"], [])


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("stainless-python-retry-6f1c9d1e-0000-4a4a-8888-0123456789ab", id="of the openai client"),
        pytest.param("a/b c", id="slash and blank"),
        pytest.param('"8e03978e-40d5-43dd-bc93-6894a57f9324"', id="in quotes, as the draft of the header has it"),
        pytest.param("x" * 255, id="long"),
        pytest.param("-begins-with-a-dash", id="dash"),
    ],
)
async def test_any_key_is_one_id_for_ever(open_door: OpenDoor, backend: MemoryBackend, key: str) -> None:
    door = await open_door(DEMAND)
    first = await door.call(headers={"Idempotency-Key": key})
    second = await door.call(headers={"Idempotency-Key": key})
    assert first.receipt.id == second.receipt.id
    assert is_request_id(first.receipt.id)
    assert len(backend.paid) == 1


async def test_what_the_request_says_goes_before_its_header(open_door: OpenDoor, backend: MemoryBackend) -> None:
    door = await open_door(DEMAND)
    seen = await door.call(headers={"Idempotency-Key": "from-header"}, says={"id": "said"})
    if door.name != "requests":
        assert seen.receipt.id == "said"
    assert len(backend.paid) == 1


async def test_a_redirect_keeps_the_key_and_pays_once(open_door: OpenDoor, backend: MemoryBackend) -> None:
    away = Answered(307, {"location": "https://shop.example/moved"})
    door = await open_door(away, DEMAND, away)
    first = await door.call(says={"id": "moved-1"})
    second = await door.call(says={"id": "moved-1"})
    assert [ask.url for ask in backend.asks[:1]] == ["https://shop.example/moved"]
    assert (first.content, first.receipt) == (second.content, second.receipt)
    assert backend.paid == ["moved-1"]


async def test_a_key_of_another_request_is_an_error_of_the_caller(open_door: OpenDoor, backend: MemoryBackend) -> None:
    door = await open_door(DEMAND)
    await door.call(says={"id": "report-7"})
    with pytest.raises(door.module.InvalidPayment) as raised:
        await door.call("https://shop.example/other", says={"id": "report-7"})
    assert (raised.value.type, raised.value.purchase.id) == ("terms_differ", "report-7")
    assert isinstance(raised.value.__cause__, TermsDiffer)
    assert backend.paid == ["report-7"]


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(Unreachable("the ledger is away"), id="the ledger"),
        pytest.param(AgentNotAnswering("no worker runs"), id="the agent"),
        pytest.param(CallFailed("?"), id="anything"),
    ],
)
async def test_a_repetition_without_a_key_goes_on_with_what_had_no_answer(
    open_door: OpenDoor, backend: MemoryBackend, error: AutopayError
) -> None:
    door = await open_door(DEMAND)
    backend.ends = [error]
    with pytest.raises(door.base_error):
        await door.call(headers={"x-stainless-retry-count": "0"})
    seen = await door.call(headers={"x-stainless-retry-count": "1"})
    assert [ask.id for ask in backend.asks] == [seen.receipt.id] * 2
    later = await door.call()
    assert later.receipt.id != seen.receipt.id


async def test_a_seller_that_fails_in_between_does_not_end_the_repetition(
    open_door: OpenDoor, backend: MemoryBackend
) -> None:
    door = await open_door(DEMAND, Answered(503), DEMAND)
    backend.ends = [AgentNotAnswering("no worker runs")]
    with pytest.raises(door.base_error):
        await door.call()
    assert (await door.call()).status == 503
    seen = await door.call()
    assert [ask.id for ask in backend.asks] == [seen.receipt.id] * 2


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"url": "https://shop.example/other"}, id="URL"),
        pytest.param({"headers": {"authorization": "Bearer somebody-else"}}, id="whose request it is"),
        pytest.param({"says": {"max_price": "0.9"}}, id="the price"),
        pytest.param({"method": "POST", "body": b"x"}, id="body"),
        pytest.param({"says": {"id": "a-key"}}, id="a key of its own"),
    ],
)
async def test_a_call_that_differs_is_no_repetition(
    open_door: OpenDoor, backend: MemoryBackend, other: dict[str, Any]
) -> None:
    door = await open_door(DEMAND)
    backend.ends = [{"status": RequestStatus.WAITING, "content": None}]
    with pytest.raises(door.module.PaymentUnfinished):
        await door.call()
    seen = await door.call(**other)
    assert seen.receipt.id != backend.asks[0].id
