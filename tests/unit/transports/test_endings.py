"""How calls and transports end: each way is an error of the caller's library, with the reason."""

import pytest
import requests

from autopay.client.errors import (
    AutopayError,
    CallFailed,
    InvalidCall,
    Misconfigured,
    PurchaseRefused,
    PurchaseUnfinished,
    Unreachable,
)
from autopay.domain.request import RequestError, RequestStatus
from tests.unit.bought import TRANSACTION, MemoryBackend
from tests.unit.transports.doors import DEMAND, DEMAND_HEADERS, Answered, Door, OpenDoor, Seller

pytestmark = pytest.mark.usefixtures("backend")


_SAID = RequestError(type="above_request_limit", message="0.002 USDC is above the policy's 0.001")


async def test_a_refusal_says_by_which_rule_and_has_the_demand(open_door: OpenDoor, backend: MemoryBackend) -> None:
    door = await open_door(Answered(402, DEMAND_HEADERS, b"the demand"))
    backend.ends = [{"status": RequestStatus.REFUSED, "error": _SAID, "content": None, "transaction": None}]
    with pytest.raises(door.module.PaymentRefused, match="above the policy's") as raised:
        await door.call(says={"id": "dear-1"})
    assert raised.value.type == "above_request_limit"
    assert (raised.value.response.status_code, raised.value.response.content) == (402, b"the demand")
    assert raised.value.request.url is not None
    assert isinstance(raised.value, door.base_error)
    assert isinstance(raised.value.__cause__, PurchaseRefused)
    with pytest.raises(door.module.PaymentRefused) as again:
        await door.call(says={"id": "dear-1"})
    assert (again.value.type, again.value.response.status_code) == ("above_request_limit", 402)
    assert len(door.seller.asked) == 1


@pytest.mark.parametrize(
    ("end", "name", "kind", "request_id"),
    [
        pytest.param({"status": RequestStatus.FAILED}, "PaymentFailed", "failed", "k", id="failed"),
        pytest.param({"status": RequestStatus.UNDELIVERED}, "PaymentUndelivered", "undelivered", "k", id="undelivered"),
        pytest.param({"pruned": "thrown away"}, "PaymentUndelivered", "delivered", "k", id="thrown away since"),
        pytest.param({"status": RequestStatus.WAITING}, "PaymentUnfinished", "waiting", "k", id="waiting"),
        pytest.param({"status": RequestStatus.UNRESOLVED}, "PaymentUnfinished", "unresolved", "k", id="unresolved"),
        pytest.param(Unreachable("away"), "AutopayUnreachable", "unreachable", "k", id="unreachable"),
        pytest.param(Misconfigured("no keyring"), "InvalidPayment", "misconfigured", "k", id="a setting"),
        pytest.param(InvalidCall("no agent", "unknown_agent"), "InvalidPayment", "unknown_agent", "k", id="no agent"),
        pytest.param(CallFailed("?"), "PaymentCallFailed", "call_failed", "k", id="anything"),
    ],
)
async def test_each_ending_is_an_error_of_the_library(
    open_door: OpenDoor,
    backend: MemoryBackend,
    end: dict[str, object] | AutopayError,
    name: str,
    kind: str,
    request_id: str,
) -> None:
    door = await open_door(DEMAND)
    backend.ends = [end if isinstance(end, AutopayError) else {"content": None, **end}]
    error = getattr(door.module, name)
    with pytest.raises(error) as raised:
        await door.call(says={"id": "k"})
    assert (raised.value.type, raised.value.request_id) == (kind, request_id)
    assert isinstance(raised.value, door.base_error)
    assert isinstance(raised.value.__cause__, AutopayError)


async def test_an_unfinished_payment_is_a_read_timeout_that_names_the_key(
    open_door: OpenDoor, backend: MemoryBackend
) -> None:
    door = await open_door(DEMAND, timeout=3)
    backend.ends = [{"status": RequestStatus.WAITING, "content": None}]
    timeout = requests.ReadTimeout if door.name == "requests" else door.library.ReadTimeout
    with pytest.raises(timeout, match=r"within 3 s; the idempotency key 'slow-1' goes on with it") as raised:
        await door.call(says={"id": "slow-1"})
    assert isinstance(raised.value.__cause__, PurchaseUnfinished)
    assert (await door.call(says={"id": "slow-1"})).receipt.transaction == TRANSACTION
    assert backend.paid == ["slow-1"]


async def test_an_unfinished_payment_says_that_its_agent_is_paused(open_door: OpenDoor, backend: MemoryBackend) -> None:
    door = await open_door(DEMAND)
    backend.paused = "the month is over"
    backend.ends = [{"status": RequestStatus.WAITING, "content": None}]
    with pytest.raises(door.module.PaymentUnfinished, match="agent research is paused: the month is over"):
        await door.call()


async def test_a_ledger_that_is_away_is_no_reason_to_ask_the_seller_first(
    open_door: OpenDoor, backend: MemoryBackend
) -> None:
    door = await open_door(Answered(200, {}, b"free"))
    backend.unreachable = Unreachable("away")
    with pytest.raises(door.module.AutopayUnreachable):
        await door.call(says={"id": "report-7"})
    assert door.seller.asked == []
    assert (await door.call()).content == b"free"


# Its life


async def test_a_closed_transport_is_not_used_again(open_door: OpenDoor, backend: MemoryBackend) -> None:
    door = await open_door(DEMAND)
    await door.call()
    if door.is_async:
        await door.transport.aclose()
    else:
        door.transport.close()
    assert backend.closed == 1
    with pytest.raises(RuntimeError, match="closed"):
        await door.call()


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
async def test_closing_one_side_leaves_the_other(library: str, backend: MemoryBackend) -> None:
    async with Door(library, Seller([DEMAND])) as door:
        await door.call()
        async with door.library.AsyncClient(transport=door.transport) as both:
            assert (await both.get("https://shop.example/data")).status_code == 200
        await door.call()
    assert len(backend.paid) == 3
