"""Tools of MCP servers as sellers: what is said to them, and what their answers mean; over real HTTP, scripted."""

import asyncio
import base64
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from autopay.adapters.x402.mcp_calls import answer_of, reply_of
from autopay.adapters.x402.mcp_seller import AnySeller
from autopay.adapters.x402.seller import HttpSeller
from autopay.domain.errors import SellerUnavailable
from autopay.domain.payment.exchange import Reply, RequestExtras, UnpaidReply, classify
from autopay.domain.payment.offer import Challenge
from autopay.domain.payment.payment import Conflict, Content, Rejected
from autopay.domain.refusal import Refused
from autopay.domain.text.hosts import check_url, resource_of, server_of, tool_of
from tests.unit.test_wire import V2

PAYMENT = base64.b64encode(json.dumps({"x402Version": 2, "payload": {"transaction": "AQ=="}}).encode())
RECEIPT = {"success": True, "transaction": "5x", "network": "solana:x", "payer": "p"}
GOODS = {"content": [{"type": "text", "text": "the data"}], "structuredContent": {"fees": 5}}


@dataclass
class Server:
    """An MCP server that answers calls as it is told to; keeps what it heard: method, headers, parameters."""

    result: Any = None
    status: int = 200
    error: Any = None
    as_events: bool = False
    session: str | None = "s-1"
    hangs: bool = False
    port: int = 0
    heard: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        """Its tool `search`."""
        return f"http://127.0.0.1:{self.port}/mcp#mcp-tool=search"

    async def answer(self, request: Request) -> Response:
        """One message."""
        headers = dict(request.headers)
        if request.method == "DELETE":
            self.heard.append(("DELETE", headers, {}))
            self.ended.set()
            return Response(status_code=200)
        message = json.loads(await request.body())
        self.heard.append((message["method"], headers, message.get("params", {})))
        if message["method"] == "initialize":
            result = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "s", "version": "1"}}
            said = {"Mcp-Session-Id": self.session} if self.session else {}
            return self._json(200, {"jsonrpc": "2.0", "id": message["id"], "result": result}, said)
        if "id" not in message:
            return Response(status_code=202)
        if self.status == 404:
            return Response("Session not found", 404)
        said = {"error": self.error} if self.error is not None else {"result": self.result}
        if self.hangs:
            return StreamingResponse(_endless(said), media_type="text/event-stream")
        return self._json(self.status, {"jsonrpc": "2.0", "id": message["id"], **said})

    def _json(self, status: int, message: Any, headers: dict[str, str] | None = None) -> Response:
        text = json.dumps(message)
        if self.as_events:
            progress = json.dumps({"jsonrpc": "2.0", "method": "notifications/progress", "params": {}})
            body = f": hello\r\n\r\nevent: message\r\ndata: {progress}\r\n\r\nid: 7\r\ndata: {text}\r\n\r\n"
            return Response(body, status, headers, "text/event-stream")
        return Response(text, status, headers, "application/json")


async def _endless(said: dict[str, Any]) -> AsyncIterator[str]:
    """An answer, and no end of the stream until the client leaves."""
    yield f"data: {json.dumps({'jsonrpc': '2.0', 'id': 2, **said})}\n\n"
    await asyncio.Event().wait()


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[AnySeller]:
    """The server at a free port, and the seller that is tested."""
    app = Starlette(routes=[Route("/mcp", server.answer, methods=["POST", "DELETE"])])
    listening = socket.create_server(("127.0.0.1", 0))  # connections wait there until it serves
    server.port = listening.getsockname()[1]
    http = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    running = asyncio.create_task(http.serve(sockets=[listening]))
    seller = AnySeller(HttpSeller(timeout_s=5, ask_timeout_s=5))
    try:
        yield seller
    finally:
        await seller.close()
        http.should_exit = True
        await running


def body(arguments: Any) -> RequestExtras:
    """A request with these arguments and a caller's header."""
    return RequestExtras(headers={"X-Key": "k", "Mcp-Session-Id": "mine"}, body=json.dumps(arguments).encode())


OFFER = {
    "isError": True,
    "structuredContent": V2,
    "content": [{"type": "text", "text": json.dumps(V2)}],
}


@pytest.mark.parametrize("as_events", [False, True], ids=["json", "event stream"])
async def test_a_tool_that_wants_money_makes_an_offer(as_events: bool) -> None:
    server = Server(result=OFFER, as_events=as_events)
    async with serving(server) as seller:
        found = await seller.ask(server.url, "POST", body({"q": "fees"}))
        await asyncio.wait_for(server.ended.wait(), 5)
    assert isinstance(found, UnpaidReply)
    assert isinstance(found.challenge, Challenge)
    methods = [each[0] for each in server.heard]
    assert methods[:3] == ["initialize", "notifications/initialized", "tools/call"]
    _, headers, params = server.heard[2]
    assert params == {"name": "search", "arguments": {"q": "fees"}}
    assert (headers["mcp-session-id"], headers["mcp-protocol-version"], headers["x-key"]) == ("s-1", "2025-11-25", "k")


async def test_an_offer_in_the_text_alone_is_read() -> None:
    server = Server(result={"isError": True, "content": OFFER["content"]}, session=None)
    async with serving(server) as seller:
        found = await seller.ask(server.url, "POST", body({}))
    assert isinstance(found, UnpaidReply)
    assert isinstance(found.challenge, Challenge)
    assert "DELETE" not in [each[0] for each in server.heard], "there was no session"


async def test_the_payment_goes_into_the_call_and_the_receipt_comes_back_with_the_content() -> None:
    server = Server(result={**GOODS, "_meta": {"x402/payment-response": RECEIPT}}, as_events=True)
    async with serving(server) as seller:
        reply = await seller.pay(server.url, "POST", body({"q": 1}), 2, PAYMENT)
        again = await seller.pay(server.url, "POST", body({"q": 1}), 2, PAYMENT)
    assert json.loads(reply.body) == GOODS
    assert isinstance(classify(reply), Content)
    assert reply.receipt is not None
    assert (reply.receipt.success, reply.receipt.transaction) == (True, "5x")
    calls = [params for method, _, params in server.heard if method == "tools/call"]
    assert calls[0]["_meta"] == {"x402/payment": json.loads(base64.b64decode(PAYMENT))}
    assert calls[0] == calls[1], "the same payment with the same arguments"
    assert reply == again
    assert all("payment-signature" not in headers for _, headers, _ in server.heard)


@pytest.mark.parametrize(
    ("server", "means", "status"),
    [
        pytest.param(Server(result=OFFER), Rejected, 402, id="an offer instead of content"),
        pytest.param(Server(result={"isError": True, "content": []}), Rejected, 500, id="the tool failed"),
        pytest.param(Server(result="nothing"), Rejected, 500, id="a result that is none"),
        pytest.param(Server(error={"code": -32603, "message": "down"}), Rejected, 500, id="the server failed"),
        pytest.param(Server(error={"code": -32602, "message": "no q"}), Conflict, 400, id="wrong arguments"),
        pytest.param(Server(error="odd"), Rejected, 500, id="an error that is none"),
        pytest.param(Server(status=503, result=None, session=None), Rejected, 500, id="a result in a 503"),
    ],
)
async def test_what_is_no_content_says_nothing_about_the_money(server: Server, means: type, status: int) -> None:
    async with serving(server) as seller:
        reply = await seller.pay(server.url, "POST", body({}), 2, PAYMENT)
    assert (type(classify(reply)), reply.http_status, reply.receipt) == (means, status, None)


async def test_content_that_is_cut_is_kept_as_far_as_it_came() -> None:
    server = Server(result={"content": [{"type": "text", "text": "x" * 5_000}]})
    async with serving(server) as seller:
        short = AnySeller(HttpSeller(timeout_s=5, paid_body_limit_bytes=1_000))
        reply = await short.pay(server.url, "POST", body({}), 2, PAYMENT)
        await short.close()
    del seller
    assert classify(reply) == Content(http_status=200, complete=False)
    assert len(reply.body) == 1_000


async def test_a_stream_that_does_not_end_gives_its_answer_when_the_time_is_up() -> None:
    server = Server(result=GOODS, as_events=True, hangs=True)
    async with serving(server) as seller:
        del seller
        patient = AnySeller(HttpSeller(timeout_s=1, ask_timeout_s=1))
        reply = await patient.pay(server.url, "POST", body({}), 2, PAYMENT)
        await patient.close()
    assert (reply.http_status, json.loads(reply.body)) == (200, GOODS)


async def test_a_session_that_ended_under_way_is_no_refusal_for_good() -> None:
    server = Server(status=404)
    async with serving(server) as seller:
        reply = await seller.pay(server.url, "POST", body({}), 2, PAYMENT)
    assert isinstance(classify(reply), Rejected)


async def test_a_receipt_is_read_of_an_error_too() -> None:
    server = Server(result={**OFFER, "_meta": {"x402/payment-response": {**RECEIPT, "success": False}}})
    async with serving(server) as seller:
        reply = await seller.pay(server.url, "POST", body({}), 2, PAYMENT)
    assert reply.http_status == 402
    assert reply.receipt is not None
    assert (reply.receipt.success, reply.receipt.transaction) == (False, "5x")


async def test_a_server_that_is_away_gave_no_answer() -> None:
    seller = AnySeller(HttpSeller(timeout_s=5, ask_timeout_s=5))
    with pytest.raises(SellerUnavailable):
        await seller.pay("http://127.0.0.1:1/mcp#mcp-tool=search", "POST", body({}), 2, PAYMENT)
    await seller.close()


async def test_an_address_that_is_not_allowed_is_not_asked() -> None:
    seller = AnySeller(HttpSeller())
    refused = await seller.ask("http://10.0.0.1/mcp#mcp-tool=search", "POST", body({}))
    assert isinstance(refused, Refused)
    with pytest.raises(SellerUnavailable, match="not asked"):
        await seller.pay("https://10.0.0.1/mcp#mcp-tool=search", "POST", body({}), 2, PAYMENT)
    await seller.close()


@pytest.mark.parametrize("given", [b"[1]", b"{", b'"text"', b'{"a": 1, "a": 2}'])
async def test_arguments_that_are_no_object_are_not_sent(given: bytes) -> None:
    server = Server(result=GOODS)
    async with serving(server) as seller:
        found = await seller.ask(server.url, "POST", RequestExtras(body=given))
    assert isinstance(found, UnpaidReply)
    assert (found.reply.http_status, server.heard) == (400, [])


async def test_other_urls_are_asked_over_plain_http() -> None:
    server = Server()
    async with serving(server) as seller:
        found = await seller.ask(server_of(server.url) + "#chapter-2", "GET", RequestExtras())
    assert isinstance(found, UnpaidReply)
    assert found.reply.http_status == 405, "a plain GET, which the server does not take"


@pytest.mark.parametrize(
    "result",
    [
        pytest.param('{"content": [{"text": "\\ud800"}]}', id="half a character"),
        pytest.param('{"content": ' + "[" * 300 + "]" * 300 + "}", id="deep"),
        pytest.param('{"content": [NaN]}', id="no number"),
        pytest.param('{"content": [{"a": 1, "a": 2}]}', id="a name twice"),
    ],
)
def test_content_that_cannot_be_written_anew_is_kept_as_it_came(result: str) -> None:
    came = Reply(http_status=200, content_type="application/json", body=f'{{"id": 2, "result": {result}}}'.encode())
    answer = answer_of(came, 2)
    assert answer is not None
    kept = reply_of(answer, came)
    assert (kept.http_status, kept.body) == (200, came.body)


@pytest.mark.parametrize("name", ["", "a b", "a%20b", "x" * 129, "a#b", "a&b=c", "é"])
def test_a_tool_has_one_spelling(name: str) -> None:
    with pytest.raises(ValueError, match=r"tool|ASCII"):
        check_url(f"https://a.test/mcp#mcp-tool={name}")


def test_what_has_a_price_is_the_tool_and_no_other_fragment() -> None:
    check_url("https://a.test/mcp?v=1#mcp-tool=get/fees_1.2-x")
    assert tool_of("https://a.test/mcp?v=1#mcp-tool=search") == "search"
    assert (tool_of("https://a.test/mcp#search"), tool_of("https://a.test/mcp?x=%23mcp-tool=search")) == (None, None)
    assert resource_of("POST", "https://a.test/mcp?v=1#mcp-tool=a") != resource_of(
        "POST", "https://a.test/mcp#mcp-tool=b"
    )
    assert (
        resource_of("GET", "https://a.test/x#top")
        == resource_of("GET", "https://a.test/x?y")
        == "GET https://a.test:443/x"
    )
