"""What is said to an MCP server, and what its answers mean for a purchase. Pure.

JSON-RPC over streamable HTTP (MCP 2025-11-25), and x402's transport for it: a tool that wants money answers with an
error that is an offer; the payment goes into `_meta["x402/payment"]` of the same call, the receipt comes in
`_meta["x402/payment-response"]` (x402, specs/transports-v2/mcp.md).
"""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from autopay.adapters.x402.decoding import is_echoable, read_json
from autopay.adapters.x402.wire import read_receipt
from autopay.domain.payment.exchange import Reply

PROTOCOL = "2025-11-25"
_VERSION = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
PAYMENT, RECEIPT = "x402/payment", "x402/payment-response"

HELLO_ID, CALL_ID = 1, 2

_INVALID = frozenset({-32600, -32601, -32602})
"""JSON-RPC: invalid request, no such method, invalid parameters. The same call fails again."""

_OFFER = ("x402Version", "accepts")


def hello(version: str) -> bytes:
    """The first message of a session."""
    client = {"name": "autopay", "version": version}
    params = {"protocolVersion": PROTOCOL, "capabilities": {}, "clientInfo": client}
    return _message({"id": HELLO_ID, "method": "initialize", "params": params})


def ready() -> bytes:
    """The message after the answer to the first one."""
    return _message({"method": "notifications/initialized"})


def call(tool: str, arguments: dict[str, Any], payment: bytes | None) -> bytes:
    """The call of a tool; `payment` is as its header would be, base64 of JSON."""
    params: dict[str, Any] = {"name": tool, "arguments": arguments}
    if payment is not None:
        params["_meta"] = {PAYMENT: json.loads(base64.b64decode(payment))}
    return _message({"id": CALL_ID, "method": "tools/call", "params": params})


def version_of(greeting: Mapping[str, Any]) -> str:
    """The version of the protocol that the server speaks in this session, by its answer to the first message."""
    result = greeting.get("result")
    version = result.get("protocolVersion") if isinstance(result, dict) else None
    return version if isinstance(version, str) and _VERSION.fullmatch(version) else PROTOCOL


def answer_of(reply: Reply, call_id: int) -> dict[str, Any] | None:
    """The JSON-RPC answer to the message of that number; None when there is none in what came.

    An answer that stands alone is that of the message which it came for, whatever number it has.
    """
    alone = (reply.content_type or "").partition(";")[0].strip().lower() != "text/event-stream"
    for body in iter([reply.body]) if alone else _events(reply.body):
        try:
            message = read_json(body)
        except ValueError:
            continue
        if not isinstance(message, dict) or not ("result" in message or "error" in message):
            continue
        if alone or str(message.get("id")) == str(call_id):
            return message
    return None


def reply_of(answer: Mapping[str, Any], came: Reply) -> Reply:
    """What a tool answered, as the answer of a seller over HTTP with the same meaning.

    | the tool's answer | status |
    |---|---|
    | a result | 200; its content is JSON |
    | an error that is an offer of x402 | 402; the offer |
    | another error of the tool, or of the server | 500 |
    | the call can never succeed: no such tool, wrong arguments | 400 |

    It says nothing about the money. A receipt is read of each of them.
    """
    error = answer.get("error")
    if error is not None:
        code = error.get("code") if isinstance(error, dict) else None
        return _as(came, 400 if code in _INVALID else 500, {"error": error})
    result = answer.get("result")
    if not isinstance(result, dict):
        return _as(came, 500, {"error": "the tool's result is no object"})
    receipt = _receipt(result)
    if result.get("isError") is not True:
        kept = {name: result[name] for name in ("content", "structuredContent") if name in result}
        return _as(came, 200, kept).model_copy(update={"receipt": receipt})
    offer = _offer(result)
    found = _as(came, 500, {"content": result.get("content")}) if offer is None else _as(came, 402, offer)
    return found.model_copy(update={"receipt": receipt})


def _offer(result: Mapping[str, Any]) -> Any:
    """The offer in a tool's error: its structured content, or else its first text."""
    structured = result.get("structuredContent")
    if _is_offer(structured):
        return structured
    content = result.get("content")
    first = content[0] if isinstance(content, list) and content else None
    text = first.get("text") if isinstance(first, dict) else None
    if not isinstance(text, str):
        return None
    try:
        found = read_json(text.encode("utf-8", "surrogatepass"))
    except ValueError:
        return None
    return found if _is_offer(found) else None


def _is_offer(value: Any) -> bool:
    return isinstance(value, dict) and all(name in value for name in _OFFER)


def _receipt(result: Mapping[str, Any]) -> Any:
    """The receipt, read as that of a header is: the same bounds hold."""
    meta = result.get("_meta")
    said = meta.get(RECEIPT) if isinstance(meta, dict) else None
    if said is None or not is_echoable(said):
        return None
    return read_receipt({"payment-response": base64.b64encode(json.dumps(said).encode()).decode()})


def _as(came: Reply, http_status: int, content: Any) -> Reply:
    """The reply with that content; with the message as it came, when writing its content anew would change it."""
    found = came.model_copy(update={"http_status": http_status, "receipt": None})
    if not is_echoable(content):
        return found
    return found.model_copy(
        update={"content_type": "application/json", "body": json.dumps(content).encode(), "complete": True}
    )


def _message(fields: dict[str, Any]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **fields}).encode()


def _events(body: bytes) -> Iterator[bytes]:
    """The data of each event of a stream (WHATWG HTML, 9.2.6)."""
    data: list[bytes] = []
    for line in [*body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"), b""]:
        if line:
            name, _, value = line.partition(b":")
            if name == b"data":
                data.append(value.removeprefix(b" "))
        elif data:
            yield b"\n".join(data)
            data = []
