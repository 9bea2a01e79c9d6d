"""The id of a call that brought none, the token and the host names of the HTTP server."""

import stat
from pathlib import Path

import httpx
import pytest
from mcp.client import Client

from autopay.client.errors import InvalidCall
from autopay.domain.request import is_request_id
from autopay.mcp.calls import id_of_call
from autopay.mcp.http import http_app, token_of
from autopay.mcp.server import Options, build_server
from tests.unit.mcp_backend import FakeBackend, client_of

TOKEN = "a-token-that-is-long-enough"


def test_a_call_that_comes_again_in_its_session_is_the_same_purchase() -> None:
    first = id_of_call("session", 1, ["https://a.test", "", None])
    assert is_request_id(first)
    assert id_of_call("session", 1, ["https://a.test", "", None]) == first
    others = [
        id_of_call("session", 2, ["https://a.test", "", None]),
        id_of_call("session", 1, ["https://b.test", "", None]),
        id_of_call("another", 1, ["https://a.test", "", None]),
        id_of_call(None, 1, ["https://a.test", "", None]),
        id_of_call(None, 1, ["https://a.test", "", None]),
    ]
    assert len({first, *others}) == 6


def test_a_token_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "token"
    token = token_of(file)
    assert len(token) >= 40
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert token_of(file) == token


@pytest.mark.parametrize("text", ["", "short", "with a blank in the middle of it", "ü" * 30])
def test_what_is_no_token_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "token"
    file.write_text(text)
    with pytest.raises(InvalidCall, match="token"):
        token_of(file)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({}, 401, id="no token"),
        pytest.param({"Authorization": "Bearer wrong"}, 401, id="a wrong one"),
        pytest.param({"Authorization": f"Basic {TOKEN}"}, 401, id="another scheme"),
        pytest.param({"Authorization": b"Bearer \xff\xfe"}, 401, id="no ASCII"),
        pytest.param({"Authorization": f"Bearer {TOKEN}", "Host": "evil.test"}, 421, id="another host name"),
        pytest.param({"Authorization": f"Bearer {TOKEN}", "Origin": "https://evil.test"}, 403, id="another origin"),
        pytest.param({"Authorization": f"Bearer {TOKEN}"}, 200, id="the token"),
        pytest.param({"Authorization": f"bearer {TOKEN}", "Host": "pay.test"}, 200, id="a name that is allowed"),
        pytest.param(
            {"Authorization": f"Bearer {TOKEN}", "Origin": "http://localhost:6274"}, 200, id="a page of this machine"
        ),
    ],
)
async def test_only_who_has_the_token_and_calls_it_by_its_name_is_served(
    headers: dict[str, str | bytes], status: int
) -> None:
    server = build_server(client_of(FakeBackend()), Options(one_client=False))
    app = http_app(server, TOKEN, ["pay.test"])
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
    }
    accepts = {"Accept": "application/json, text/event-stream", "Host": "127.0.0.1:8410"}
    given = [
        (name.encode(), value if isinstance(value, bytes) else value.encode())
        for name, value in (accepts | headers).items()
    ]
    async with (
        server.session_manager.run(),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), trust_env=False) as http,
    ):
        answer = await http.post("http://127.0.0.1:8410/mcp", json=hello, headers=given)
    assert answer.status_code == status


async def test_a_request_that_comes_again_in_its_session_pays_once_and_a_session_cannot_be_invented() -> None:
    backend = FakeBackend()
    server = build_server(client_of(backend), Options(one_client=False))
    app = http_app(server, TOKEN)
    headers = {"Authorization": f"Bearer {TOKEN}", "Accept": "application/json, text/event-stream"}
    client = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    call = {"name": "fetch", "arguments": {"url": "https://api.test/x"}}

    async with (
        server.session_manager.run(),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), trust_env=False, base_url="http://127.0.0.1") as http,
    ):

        async def post(method: str, number: int | None, params: object, more: dict[str, str]) -> httpx.Response:
            message = {"jsonrpc": "2.0", "method": method, "params": params}
            return await http.post(
                "/mcp", json=message if number is None else {**message, "id": number}, headers=headers | more
            )

        async def session() -> dict[str, str]:
            hello = await post("initialize", 0, client, {})
            found = {"Mcp-Session-Id": hello.headers["mcp-session-id"], "MCP-Protocol-Version": "2025-06-18"}
            await post("notifications/initialized", None, {}, found)
            return found

        mine, other = await session(), await session()
        for number, given in ((7, mine), (7, mine), (8, mine), (7, other)):
            assert (await post("tools/call", number, call, given)).status_code == 200
        assert len(backend.paid) == 3
        invented = await post("tools/call", 7, call, {"Mcp-Session-Id": "invented"})
        assert invented.status_code == 404
    assert len(backend.paid) == 3


async def test_without_sessions_each_call_without_an_id_is_a_purchase() -> None:
    backend = FakeBackend()
    async with Client(build_server(client_of(backend), Options(one_client=False))) as client:
        for _ in range(2):
            await client.call_tool("fetch", {"url": "https://api.test/x"})
    assert len(backend.paid) == 2
