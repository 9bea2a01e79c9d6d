"""The client over a gateway: everything it can do, a gateway that goes away and comes back, and what it loads."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal

import httpx
import pytest

from autopay.client import AsyncClient, Client
from autopay.client.errors import (
    CallFailed,
    InvalidCall,
    Misconfigured,
    PurchaseRefused,
    PurchaseUnfinished,
    TermsDiffer,
    Unreachable,
)
from autopay.client.gateway import GatewayBackend
from autopay.client.problems import error_of, problem_of
from autopay.client.values import Ask, Purchase
from autopay.domain.policy.records import ApprovalRecord
from autopay.domain.request import RequestError, RequestStatus
from tests.unit.gateway_parts import Place, Shop, payment, purchase, question, refused, served

TOKEN = "a-token-of-the-tests"
URL = "https://api.example.com/report"


@pytest.fixture(scope="module")
async def running() -> AsyncIterator[Place]:
    async with served("http://127.0.0.1:9", Shop(), token=TOKEN) as found:
        yield found


@pytest.fixture
def place(running: Place) -> Place:
    return running.renewed()


@pytest.fixture
async def client(place: Place, no_settings: None) -> AsyncIterator[AsyncClient]:
    async with AsyncClient("research", gateway=place.url, token=TOKEN) as found:
        yield found


async def test_it_buys_as_a_client_with_a_ledger_does(place: Place, client: AsyncClient) -> None:
    bought = await client.fetch(
        URL, id="r1", content=b"\0\xff", headers={"A": "b"}, max_price="0.01", currency="usdc", max_age="5m"
    )
    assert (bought.content, bought.receipt.transaction, bought.price) == (
        b'{"quotes": [1]}',
        "Sig111",
        Decimal("0.001"),
    )
    [(agent, ask)] = place.books.asked
    assert (agent, ask.id, ask.method, ask.content, ask.headers) == ("research", "r1", "POST", b"\0\xff", {"A": "b"})
    assert (ask.max_price_atomic, ask.currency, ask.max_age_s) == (10_000, "USDC", 300)


async def test_what_is_not_bought_is_the_same_error_as_without_a_gateway(place: Place, client: AsyncClient) -> None:
    place.books.answer = refused("price_above_maximum", "too much")
    with pytest.raises(PurchaseRefused, match="too much") as refusal:
        await client.fetch(URL)
    assert refusal.value.type == "price_above_maximum"
    error = RequestError(type="terms_differ", message="another URL")
    place.books.answer = lambda ask: purchase(ask.id, terms_differ=True, error=error)
    with pytest.raises(TermsDiffer):
        await client.fetch(URL)
    place.books.answer = lambda ask: purchase(ask.id, status=RequestStatus.UNRESOLVED, content=None)
    with pytest.raises(PurchaseUnfinished):
        await client.fetch(URL, timeout=0)


async def test_it_waits_for_longer_than_one_call_of_the_gateway(place: Place, client: AsyncClient) -> None:
    answers = iter([RequestStatus.WAITING, RequestStatus.UNRESOLVED, RequestStatus.DELIVERED])

    def answer(ask: Ask) -> Purchase:
        place.books.known.clear()
        return purchase(ask.id, status=next(answers))

    place.books.answer = answer
    bought = await client.fetch(URL, id="r1")
    assert (bought.ok, [ask.id for _, ask in place.books.asked]) == (True, ["r1"] * 3)


async def test_it_hears_what_the_request_waits_for_each_thing_once(place: Place, client: AsyncClient) -> None:
    place.books.tells = ("in the queue", "in the queue", "signed")
    heard: list[str] = []
    assert (await client.fetch(URL, on_progress=heard.append)).ok
    assert heard == ["in the queue", "signed"]
    place.books.asks = (question(1), question(1), question(2))
    asked: list[ApprovalRecord] = []
    assert (await client.fetch(URL, on_approval=asked.append)).ok
    assert asked == [question(1), question(2)]
    place.books.error = InvalidCall("there is no agent", "unknown_agent")
    with pytest.raises(InvalidCall) as told:
        await client.fetch(URL, on_progress=heard.append)
    assert told.value.type == "unknown_agent"


async def test_the_other_calls_answer_as_without_a_gateway(place: Place, client: AsyncClient) -> None:
    assert (await client.quote(URL, max_price="1")).price == Decimal("0.001")
    assert (await client.budget()).agent == "research"
    assert [each.agent for each in await client.agents()] == ["default"]
    place.books.asks, place.books.payments = (question(1), question(2)), (payment(),)
    assert await client.approvals() == [question(1), question(2)]
    assert await client.purchases(since=timedelta(hours=1), host="a.example") == [payment()]
    await client.pause("night")
    await client.resume()
    await client.cancel("r1")
    assert [call for call in place.books.calls if call[0] != "purchases"] == [
        ("pause", "research", "night"), ("resume", "research"), ("cancel", "research", "r1"),
    ]  # fmt: skip
    assert await client.result("r:1@x") is None
    place.books.known["research", "r:1@x"] = purchase("r:1@x")
    found = await client.result("r:1@x")
    assert found is not None
    assert found.content == b'{"quotes": [1]}'


async def test_nothing_is_approved_or_denied_over_a_gateway(client: AsyncClient) -> None:
    for decide in (client.approve, client.deny):
        with pytest.raises(InvalidCall, match="where the ledger is") as told:
            await decide("abcd")
        assert told.value.type == "not_over_gateway"


async def test_a_wrong_token_and_a_wrong_address_are_told_as_what_they_are(place: Place, no_settings: None) -> None:
    async with AsyncClient("research", gateway=place.url, token="wrong") as client:
        with pytest.raises(Misconfigured, match="token"):
            await client.fetch(URL)
    with pytest.raises(Misconfigured, match="address"):
        AsyncClient("research", gateway="127.0.0.1:8405")


class Flaky(httpx.AsyncBaseTransport):
    """A way to a gateway that breaks: before the request arrives, or after."""

    def __init__(self, failures: list[str], inner: httpx.AsyncBaseTransport) -> None:
        self.failures = failures
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        failure = self.failures.pop(0) if self.failures else None
        if failure == "refused":
            raise httpx.ConnectError("refused")
        response = await self._inner.handle_async_request(request)
        if failure == "cut":
            await response.aclose()
            raise httpx.ReadError("cut")
        if failure is not None:
            await response.aclose()
            return httpx.Response(int(failure), text="a proxy's page")
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


@pytest.mark.parametrize(
    ("failures", "asked"),
    [
        pytest.param(["refused", "refused"], 1, id="it is not there yet"),
        pytest.param(["cut"], 2, id="its answer is cut"),
        pytest.param(["502", "503"], 3, id="a proxy is before it"),
    ],
)
async def test_a_lost_call_is_made_again_with_the_same_id(place: Place, failures: list[str], asked: int) -> None:
    transport = Flaky(failures, httpx.AsyncHTTPTransport())
    client = AsyncClient("research", gateway=place.url, token=TOKEN)
    client._backend = GatewayBackend(place.url, TOKEN, transport)
    async with client:
        bought = await client.fetch(URL)
    assert {ask.id for _, ask in place.books.asked} == {bought.id}
    assert len(place.books.asked) == asked


async def test_a_gateway_that_stays_away_is_named_with_the_id_to_ask_again_with(
    monkeypatch: pytest.MonkeyPatch, no_settings: None
) -> None:
    monkeypatch.setattr("autopay.client.gateway.LEAST_PATIENCE_S", 0.3)
    async with AsyncClient("research", gateway="http://127.0.0.1:9") as client:
        with pytest.raises(Unreachable, match="does not answer") as told:
            await client.fetch(URL, id="r1", timeout=0.3)
        assert (told.value.type, told.value.request_id) == ("gateway_unavailable", "r1")
        with pytest.raises(Unreachable):
            await client.budget()


async def test_what_is_no_gateway_is_told_so(no_settings: None) -> None:
    client = AsyncClient("research", gateway="http://127.0.0.1:9")
    client._backend = GatewayBackend(
        "http://x", None, httpx.MockTransport(lambda _: httpx.Response(200, text="<html>"))
    )
    async with client:
        with pytest.raises(CallFailed, match="does not answer as a gateway"):
            await client.budget()


async def test_a_gateway_that_stops_is_asked_again_once_it_runs(
    monkeypatch: pytest.MonkeyPatch, no_settings: None
) -> None:
    monkeypatch.setattr("autopay.gateway.purchases.GRACE_S", 0.05)
    async with served("http://127.0.0.1:9", Shop()) as place:
        place.books.hold = asyncio.Event()
        async with AsyncClient("research", gateway=place.url) as client:
            buying = asyncio.create_task(client.fetch(URL, id="r1"))
            await place.books.until(lambda: len(place.books.asked) == 1)
            place.server.stop()
            await place.serving
            port = int(place.url.rpartition(":")[2])
            async with served("http://127.0.0.1:9", Shop(), port=port) as again:
                assert (await buying).id == "r1"
                assert [ask.id for _, ask in again.books.asked] == ["r1"]


def test_the_environment_names_the_gateway(no_settings: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOPAY_GATEWAY", "http://127.0.0.1:9")
    monkeypatch.setenv("AUTOPAY_GATEWAY_TOKEN", TOKEN)
    with Client("research") as client:
        assert isinstance(client._client._backend, GatewayBackend)
    monkeypatch.setenv("AUTOPAY_GATEWAY_TOKEN", "short")
    with pytest.raises(Misconfigured, match="AUTOPAY_GATEWAY_TOKEN"):
        Client("research")


def test_a_client_of_a_gateway_loads_no_database_temporal_or_chain() -> None:
    code = (
        "import sys, autopay; c = autopay.Client('a', gateway='http://127.0.0.1:9'); c.close();"
        "print(' '.join({name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"sqlalchemy", "psycopg", "temporalio", "x402", "solana", "solders", "alembic", "fastapi", "uvicorn"}
    assert heavy.isdisjoint(done.stdout.split())


@pytest.mark.parametrize(
    "error",
    [InvalidCall("a", "unknown_agent"), Misconfigured("b"), Unreachable("c", "ledger_unavailable"), CallFailed("d")],
)
def test_an_error_is_the_same_after_the_way_over_http(error: InvalidCall | Misconfigured | Unreachable) -> None:
    error.request_id = "r1"
    back = error_of(problem_of(error))
    assert (type(back), str(back), back.type, back.request_id) == (type(error), str(error), error.type, "r1")
