"""The faults that a stand-in takes at run time, seen by an ASGI client."""

import asyncio
import socket
from collections.abc import AsyncIterator

import httpx
import pytest
import uvicorn
from pydantic import ValidationError

from localnet.weather.faults import Weather, WeatherState
from localnet.weather.middleware import CONTROL_PATH, Message, Receive, Scope, Send, WeatherMiddleware


class Counter:
    """The service under the weather: counts the requests that reached it and answers how many."""

    def __init__(self) -> None:
        self.reached = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        self.reached += 1
        body = str(self.reached).encode()
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class Station:
    """A counter under a sky of its own, and a client of it."""

    def __init__(self) -> None:
        self.counter = Counter()
        self.weather = WeatherState(seed=1)
        self.app = WeatherMiddleware(self.counter, self.weather)
        transport = httpx.ASGITransport(app=self.app)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://station")


@pytest.fixture
async def station() -> AsyncIterator[Station]:
    station = Station()
    async with station.client:
        yield station


async def test_fair_weather_lets_requests_through(station: Station) -> None:
    answer = await station.client.get("/anything")
    assert (answer.status_code, answer.text) == (200, "1")


async def test_the_default_weather_is_reported_and_fair(station: Station) -> None:
    assert (await station.client.get(CONTROL_PATH)).json() == Weather().model_dump()


async def test_a_change_is_merged_and_an_empty_object_clears_it(station: Station) -> None:
    await station.client.put(CONTROL_PATH, json={"latency_ms": 5})
    merged = (await station.client.put(CONTROL_PATH, json={"price_factor": 2.5})).json()
    assert (merged["latency_ms"], merged["price_factor"]) == (5, 2.5)
    assert (await station.client.put(CONTROL_PATH, json={})).json() == Weather().model_dump()


@pytest.mark.parametrize(
    "body", ['{"hail": 1}', '{"error_rate": 2}', '{"price_factor": 0}', "[1]", "null", "hail", '{"outage": "no way"}']
)
async def test_what_is_no_weather_is_refused_and_changes_nothing(station: Station, body: str) -> None:
    refused = await station.client.put(CONTROL_PATH, content=body)
    assert refused.status_code == 422
    assert "error" in refused.json()
    assert station.weather.now == Weather()


async def test_the_control_path_takes_get_and_put_only(station: Station) -> None:
    assert (await station.client.post(CONTROL_PATH)).status_code == 405


async def test_an_outage_answers_503_without_reaching_the_service_and_can_be_lifted(station: Station) -> None:
    await station.client.put(CONTROL_PATH, json={"outage": True})
    assert (await station.client.get("/")).status_code == 503
    assert station.counter.reached == 0
    await station.client.put(CONTROL_PATH, json={"outage": False})
    assert (await station.client.get("/")).status_code == 200


async def test_an_error_rate_of_one_fails_every_request_before_the_service(station: Station) -> None:
    station.weather.now = Weather(error_rate=1)
    assert [(await station.client.get("/")).status_code for _ in range(5)] == [500] * 5
    assert station.counter.reached == 0


async def test_an_error_rate_of_a_half_fails_about_half_and_the_same_half_for_a_seed() -> None:
    async def statuses() -> list[int]:
        station = Station()
        station.weather.now = Weather(error_rate=0.5)
        async with station.client:
            return [(await station.client.get("/")).status_code for _ in range(100)]

    first = await statuses()
    assert first == await statuses()
    assert 30 < first.count(500) < 70


async def test_latency_holds_an_answer_back(station: Station) -> None:
    station.weather.now = Weather(latency_ms=50)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await station.client.get("/")
    assert loop.time() - began >= 0.05


async def test_a_lost_answer_did_its_work_and_cuts_the_connection(station: Station) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(station.app, access_log=False, log_config=None, lifespan="off")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve([listener]))
        station.weather.now = Weather(lose_answers=1)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}") as client:
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get("/", timeout=5)
            assert station.counter.reached == 1
            await client.put(CONTROL_PATH, json={})
            assert (await client.get("/")).text == "2"
        server.should_exit = True
        await serving


async def test_what_is_not_http_passes_untouched(station: Station) -> None:
    async def never() -> Message:
        raise AssertionError

    async def nowhere(_message: Message) -> None:
        raise AssertionError

    station.weather.now = Weather(outage=True)
    await station.app({"type": "lifespan"}, never, nowhere)
    assert station.counter.reached == 0


def test_weather_out_of_bounds_cannot_be_made() -> None:
    with pytest.raises(ValidationError):
        Weather(error_rate=1.5)
