"""The codec server: Temporal's remote codec protocol, for the UI's pages only, on loopback names only."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from autopay.adapters.vault import Keyring
from autopay.temporal import codec_server
from autopay.temporal.codec import SealedPayloads
from autopay.temporal.codec_server import codec_app

UI = "http://127.0.0.1:8233"


def clear(text: str) -> dict[str, Any]:
    """A JSON payload as it looks in JSON."""
    return {
        "metadata": {"encoding": base64.b64encode(b"json/plain").decode()},
        "data": base64.b64encode(f'"{text}"'.encode()).decode(),
    }


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    app = codec_app(SealedPayloads(Keyring.generate()), [UI])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8234") as client:
        yield client


async def test_it_opens_what_it_sealed_and_leaves_the_rest(http: httpx.AsyncClient) -> None:
    asked = {"payloads": [clear("one"), clear("two")]}
    sealed = (await http.post("/encode", json=asked)).json()
    assert [each["metadata"]["encoding"] for each in sealed["payloads"]] == [
        base64.b64encode(b"binary/encrypted").decode()
    ] * 2
    mixed = {"payloads": [*sealed["payloads"], clear("three")]}
    opened = await http.post("/decode", json=mixed, headers={"X-Namespace": "default"})
    assert opened.json() == {"payloads": [clear("one"), clear("two"), clear("three")]}


async def test_only_the_ui_may_read_the_answer_in_a_browser(http: httpx.AsyncClient) -> None:
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,x-namespace"}
    allowed = await http.options("/decode", headers={"Origin": UI, **asks})
    assert (allowed.status_code, allowed.headers["Access-Control-Allow-Origin"]) == (200, UI)
    other = await http.options("/decode", headers={"Origin": "https://evil.example", **asks})
    assert (other.status_code, other.headers.get("Access-Control-Allow-Origin")) == (400, None)
    answer = await http.post("/decode", json={"payloads": []}, headers={"Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in answer.headers


async def test_it_answers_to_loopback_names_only(http: httpx.AsyncClient) -> None:
    for host, status in (("localhost:8234", 200), ("127.0.0.1", 200), ("rebound.example:8234", 400)):
        assert (await http.get("/health", headers={"Host": host})).status_code == status


@pytest.mark.parametrize("body", [b"", b"[1]", b"{", b'{"payloads": 1}', b"\xff\xfe", b'{"other": []}'])
async def test_what_is_no_list_of_payloads_is_refused(http: httpx.AsyncClient, body: bytes) -> None:
    answer = await http.post("/decode", content=body, headers={"Origin": UI})
    assert answer.status_code == 400
    assert answer.headers["Access-Control-Allow-Origin"] == UI


async def test_a_key_that_is_gone_is_named_and_the_rest_is_shown(http: httpx.AsyncClient) -> None:
    other = codec_app(SealedPayloads(Keyring.generate().with_new_key()), [UI])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(other), base_url="http://localhost") as client:
        sealed = (await client.post("/encode", json={"payloads": [clear("one")]})).json()
    answer = await http.post("/decode", json={"payloads": [*sealed["payloads"], clear("two")]})
    gone, shown = answer.json()["payloads"]
    assert b"cannot be opened: key version '2' is not in this keyring" in base64.b64decode(gone["data"])
    assert shown == clear("two")


async def test_a_body_without_end_is_cut_off(http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec_server, "BODY_LIMIT_BYTES", 1_000)
    assert (await http.post("/decode", content=b" " * 1_001)).status_code == 413
