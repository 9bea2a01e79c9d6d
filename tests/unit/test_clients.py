"""The clients without a payment: their connections, threads and ends; and what importing them loads."""

import asyncio
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests

import autopay
import autopay.httpx
import autopay.httpx2
import autopay.requests
from autopay.client.asking import make_ask
from autopay.client.errors import InvalidCall
from autopay.domain.payment.exchange import RequestExtras
from tests.unit.bought import MemoryBackend

ROOT = Path(__file__).parents[2]
DATABASE = {"sqlalchemy", "psycopg", "temporalio", "solana", "solders", "x402", "alembic"}


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> MemoryBackend:
    """What every client of these tests buys by."""
    backend = MemoryBackend()
    monkeypatch.setattr("autopay.client.async_client.open_backend", lambda *_, **__: backend)
    return backend


URL = "https://shop.example/data"


def test_a_call_that_is_waiting_when_its_client_is_closed_ends(backend: MemoryBackend) -> None:
    backend.blocked = asyncio.Event()
    client = autopay.Client("research")
    errors: list[BaseException] = []

    def call() -> None:
        try:
            client.fetch(URL)
        except RuntimeError as error:
            errors.append(error)

    calling = threading.Thread(target=call)
    calling.start()
    while not backend.asks:
        time.sleep(0.001)
    client.close()
    calling.join(10)
    assert [str(error) for error in errors] == ["this client was closed while it was used"]
    assert backend.closed == 1
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.fetch(URL)


def test_a_client_that_was_never_used_starts_no_thread_and_closes(backend: MemoryBackend) -> None:
    before = threading.active_count()
    with autopay.Client("research"):
        assert threading.active_count() == before
    assert backend.closed == 0


async def test_a_closed_client_and_one_of_another_loop_say_so(backend: MemoryBackend) -> None:
    client = autopay.AsyncClient("research")
    await client.fetch(URL)

    def elsewhere() -> None:
        with pytest.raises(RuntimeError, match="another event loop"):
            asyncio.run(client.fetch(URL))

    await asyncio.to_thread(elsewhere)
    await client.close()
    await client.close()
    assert backend.closed == 1
    with pytest.raises(RuntimeError, match="closed"):
        await client.fetch(URL)


FORKED = """
import os
import autopay.client.async_client as module
from tests.unit.bought import MemoryBackend
module.open_backend = lambda *_, **__: MemoryBackend()
import autopay
client = autopay.Client("research")
client.fetch("https://shop.example/data")
child = os.fork()
if child == 0:
    try:
        client.fetch("https://shop.example/data")
    except RuntimeError as error:
        os._exit(0 if "fork" in str(error) else 1)
    os._exit(2)
assert os.waitpid(child, 0)[1] == 0
print("well", client.fetch("https://shop.example/data").status.value)
"""


def test_a_forked_process_is_told_to_make_its_own_and_one_that_closes_nothing_ends_well() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKED], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "well delivered\n", "")


@pytest.mark.parametrize(
    ("module", "others"),
    [
        pytest.param("autopay", {"httpx", "httpx2", "requests", "pydantic"}, id="autopay"),
        pytest.param("autopay.httpx", {"httpx2", "requests"}, id="httpx"),
        pytest.param("autopay.httpx2", {"httpx", "requests"}, id="httpx2"),
        pytest.param("autopay.requests", {"httpx", "httpx2"}, id="requests"),
        pytest.param("autopay.client.async_client", {"httpx", "httpx2", "requests"}, id="client"),
    ],
)
def test_importing_one_loads_none_of_the_others(module: str, others: set[str]) -> None:
    code = f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert set(done.stdout.split()).isdisjoint(DATABASE | others)


def test_the_transports_are_there_by_name() -> None:
    assert autopay.httpx.Transport.__name__ == "Transport"
    assert {"httpx", "httpx2", "requests", "Client"} <= set(dir(autopay))


@pytest.mark.parametrize("body", [None, b"", b'{"a": "\xc3\xa9"}', b"\xff\x00\xfe", bytes(range(256))])
def test_a_body_of_any_bytes_is_carried(body: bytes | None) -> None:
    extras = RequestExtras(headers={"x": "1"}, body=body)
    assert RequestExtras.model_validate_json(extras.model_dump_json()) == extras


def test_a_body_that_a_release_before_has_sealed_is_read() -> None:
    assert RequestExtras.model_validate_json('{"headers": {}, "body": "text"}').body == b"text"


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"max_age": 1.5}, id="a part of a second"),
        pytest.param({"max_age": True}, id="an age that is no number"),
        pytest.param({"max_age": []}, id="an age of another kind"),
        pytest.param({"timeout_s": "5"}, id="a time-out that is a text"),
        pytest.param({"timeout_s": float("nan")}, id="a time-out that is no number"),
        pytest.param({"max_price": 0.1}, id="a price that is not exact"),
        pytest.param({"max_price": object()}, id="a price that is none"),
        pytest.param({"headers": {"A": "1\r\nX-Payment: 2"}}, id="a header of two lines"),
        pytest.param({"headers": {"A": "1\0"}}, id="a header with a zero byte"),
        pytest.param({"headers": {"A:": "1"}}, id="a name that is none"),
        pytest.param({"headers": {"Å": "1"}}, id="a name that is not ASCII"),
        pytest.param({"headers": {"": "1"}}, id="an empty name"),
        pytest.param({"headers": {"A": 1}}, id="a header that is no text"),
        pytest.param({"headers": {"A": "\ud800"}}, id="a header that cannot be sent"),
        pytest.param({"content": "\ud800"}, id="a text that cannot be sent"),
        pytest.param({"json_content": object()}, id="no JSON"),
    ],
)
def test_a_value_of_a_wrong_kind_is_named(given: dict[str, Any]) -> None:
    name = next(iter(given)).removesuffix("_s").removesuffix("_content")
    with pytest.raises(InvalidCall, match=f"{name}: "):
        make_ask(URL, **given)


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"request_id": 7}, id="an id"),
        pytest.param({"method": 7}, id="a method"),
        pytest.param({"content": 7}, id="a content"),
    ],
)
def test_a_value_of_another_kind_is_the_callers_error(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidCall):
        make_ask(URL, **given)


def test_the_value_of_a_header_loses_the_blanks_around_it() -> None:
    sent = {"A": " a\tb ", "B": "", "C": "naïve"}
    assert make_ask(URL, headers=sent).headers == {"A": "a\tb", "B": "", "C": "naïve"}


async def test_what_was_bought_before_all_time_is_the_callers_error(backend: MemoryBackend) -> None:
    with pytest.raises(InvalidCall, match="since: "):
        await autopay.AsyncClient("research").purchases(since=timedelta.max)


def test_a_callback_that_calls_its_own_client_is_told_so_and_does_not_hang(backend: MemoryBackend) -> None:
    backend.tells = ["asked"]
    with autopay.Client("research") as client:
        for calls in (client.close, client.budget):
            with pytest.raises(RuntimeError, match="its own client"):
                client.fetch(URL, on_progress=lambda _, calls=calls: calls())
        assert client.fetch(URL).text


@pytest.mark.parametrize("status", [200, 402])
async def test_a_free_answer_is_streamed_as_it_comes(backend: MemoryBackend, status: int) -> None:
    """The seller sends the second part when the first has been read; a long 402 is such an answer, too."""
    part = b"x" * (300_000 if status == 402 else 3)
    has_read = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, 2 * len(part)) + part)
        await writer.drain()
        await has_read.wait()
        writer.write(part)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1")
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/stream"
    async with (
        server,
        httpx.AsyncClient(transport=autopay.httpx.Transport("research"), timeout=20) as client,
        client.stream("GET", url) as response,
    ):
        assert response.status_code == status
        received = 0
        async for chunk in response.aiter_raw():
            received += len(chunk)
            if received >= len(part):
                has_read.set()
    assert received == 2 * len(part)
    assert backend.asks == []


async def test_a_caller_that_gives_up_and_asks_again_goes_on_with_the_same_purchase(backend: MemoryBackend) -> None:
    backend.blocked = asyncio.Event()
    inner = httpx.MockTransport(lambda _: httpx.Response(402, headers={"payment-required": "e30="}))
    async with httpx.AsyncClient(transport=autopay.httpx.Transport("research", inner=inner)) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.get(URL)
        backend.blocked = None
        response = await client.get(URL)
    assert response.extensions["autopay"].id == backend.asks[0].id
    assert len(backend.paid) == 1


async def test_many_at_once_share_one_client(backend: MemoryBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []

    def opens(*_: object, **__: object) -> MemoryBackend:
        opened.append(1)
        return backend

    monkeypatch.setattr("autopay.client.async_client.open_backend", opens)
    inner = httpx.MockTransport(lambda _: httpx.Response(402, headers={"payment-required": "e30="}))
    transport = autopay.httpx.Transport("research", inner=inner)
    async with httpx.AsyncClient(transport=transport) as client:
        answers = await asyncio.gather(*(client.get(URL) for _ in range(200)))
    assert (len(opened), len({each.extensions["autopay"].id for each in answers})) == (1, 200)
    assert backend.closed == 1
    opened.clear()
    with httpx.Client(transport=autopay.httpx.Transport("research", inner=inner)) as blocking:
        threads = [threading.Thread(target=blocking.get, args=(URL,)) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            await asyncio.to_thread(thread.join)
    assert (len(opened), len(backend.paid), backend.closed) == (1, 220, 2)


@pytest.mark.parametrize("kind", ["httpx", "httpx async", "requests"])
@pytest.mark.parametrize(
    "header", [pytest.param(b"payment-required: e30=\r\n", id="demand"), pytest.param(b"", id="none")]
)
async def test_a_402_gives_its_connection_back(backend: MemoryBackend, kind: str, header: bytes) -> None:
    """With one connection at most, the next request would else wait for it in vain."""
    connections: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        while await reader.readline():
            while (await reader.readline()).strip():
                pass
            writer.write(b"HTTP/1.1 402 X\r\n" + header + b"Content-Length: 4\r\n\r\nwhat")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1")
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    limits = httpx.Limits(max_connections=1)

    def with_httpx() -> list[int]:
        inner = httpx.HTTPTransport(limits=limits)
        with httpx.Client(transport=autopay.httpx.Transport("research", inner=inner), timeout=5) as client:
            return [client.get(url).status_code for _ in range(3)]

    def with_requests() -> list[int]:
        inner = requests.adapters.HTTPAdapter(pool_maxsize=1, pool_block=True)
        with requests.Session() as session:
            session.mount("http://", autopay.requests.Adapter("research", inner=inner))
            return [session.get(url, timeout=5).status_code for _ in range(3)]

    async with server:
        if kind == "httpx async":
            transport = autopay.httpx.Transport("research", inner=httpx.AsyncHTTPTransport(limits=limits))
            async with httpx.AsyncClient(transport=transport, timeout=5) as client:
                statuses = [(await client.get(url)).status_code for _ in range(3)]
        else:
            statuses = await asyncio.to_thread(with_httpx if kind == "httpx" else with_requests)
    assert (statuses, len(connections)) == ([200 if header else 402] * 3, 1)


@pytest.mark.parametrize("kind", [autopay.httpx.Transport, autopay.httpx2.Transport, autopay.requests.Adapter])
def test_a_transport_buys_by_the_client_that_its_arguments_make(
    kind: Any, backend: MemoryBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[object, ...]] = []

    def opens(*arguments: object) -> MemoryBackend:
        given.append(arguments)
        return backend

    monkeypatch.setattr("autopay.client.async_client.open_backend", opens)
    transport = kind("research", home="there", gateway="http://127.0.0.1:8405", token="t")
    payers = transport._payers if kind is autopay.requests.Adapter else transport._transport._payers
    payers._open_client()
    assert given == [(None, "there", "http://127.0.0.1:8405", "t")]


@pytest.mark.parametrize("name", ["Idempotency-Key", "Autopay-Max-Price", "Autopay-Id"])
def test_a_header_of_ours_that_says_two_things_sends_nothing(backend: MemoryBackend, name: str) -> None:
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200)

    with httpx.Client(transport=autopay.httpx.Transport("research", inner=httpx.MockTransport(answer))) as http:
        with pytest.raises(autopay.httpx.InvalidPayment, match="twice"):
            http.get(URL, headers=[(name, "1"), (name, "2")])
        assert (sent, backend.asks) == ([], [])
        assert http.get(URL, headers=[(name, "1"), (name, "1")]).status_code == 200
