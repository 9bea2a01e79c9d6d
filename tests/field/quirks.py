"""Answers that are none: errors of providers' own kinds, texts, HTML, nothing, numbers that are too large."""

import gzip
import json
from typing import Any

from tests.field.odd_node import KEY, TOO_LARGE, Quirk, http, proper


def says(**members: Any) -> Quirk:
    """An answer of JSON-RPC with these members."""
    return lambda question, _: http(json.dumps({"jsonrpc": "2.0", "id": question["id"]} | members))


def _always(answer: bytes) -> Quirk:
    return lambda _question, _result: answer


def _as_result(value: Any) -> Quirk:
    return lambda question, _: proper(question, value)


ECHO = f"no such path: /v2/{KEY}?api-key={KEY}"

QUIRKS: dict[str, Quirk] = {
    "an error with a code of the provider's own": says(error={"code": -32429, "message": "rate limit exceeded"}),
    "an error without a code": says(error={"message": "slow down"}),
    "an error without a message": says(error={"code": -32000}),
    "an error with a code that is a text": says(error={"code": "429", "message": "slow down"}),
    "an error that is a text": says(error="rate limited"),
    "an error that is a list": says(error=["rate limited"]),
    "an error without an id": _always(http('{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"x"}}')),
    "an error beside a result": says(error={"code": 1, "message": "partial"}, result=None),
    "a method that the node lacks": says(error={"code": -32601, "message": "Method not found"}),
    "a method that the plan does not have": says(error={"code": -32600, "message": "upgrade your plan"}),
    "parameters that the node refuses": says(error={"code": -32602, "message": "Invalid params"}),
    "a node that is behind": says(error={"code": -32016, "message": "Minimum context slot", "data": None}),
    "an error that repeats the URL": says(error={"code": -1, "message": ECHO}),
    "an error of control characters": says(error={"code": -1, "message": "\x1b[2J\n\n" + "x" * 10_000}),
    "neither result nor error": says(),
    "no result where one is due": _as_result(None),
    "a result that is a text": _as_result("OK"),
    "a result that is a number below zero": _as_result(-1),
    "a result that is a number beyond 64 bits": _as_result(TOO_LARGE),
    "a result that is true": _as_result(True),
    "a result that is an empty object": _as_result({}),
    "a result that is an object in a list": _as_result([{}]),
    "a value that is a text": _as_result({"context": {"slot": 1}, "value": "x"}),
    "a context without a slot": _as_result({"context": {}, "value": 1}),
    "another question's id": lambda question, result: proper(question | {"id": question["id"] + 1}, result),
    "no id": lambda _, result: http(json.dumps({"jsonrpc": "2.0", "result": result})),
    "a batch": lambda question, result: http(json.dumps([{"id": question["id"], "result": result}])),
    "HTML": _always(http(f"<html><body>{ECHO}</body></html>")),
    "an empty body": _always(http("")),
    "blanks": _always(http("  \n")),
    "null": _always(http("null")),
    "a number": _always(http("7")),
    "truncated JSON": lambda question, result: http(json.dumps({"id": question["id"], "result": result})[:-3]),
    "JSON that is nested too deeply": _always(http("[" * 200_000)),
    "NaN": _always(http('{"id": 1, "result": NaN}')),
    "bytes that are not UTF-8": _always(http(b'{"id": 1, "result": "\xff\xfe"}')),
    "UTF-16": lambda question, result: http(json.dumps({"id": question["id"], "result": result}).encode("utf-16")),
    "gzip that is none": _always(http("no gzip", "200 OK", "Content-Encoding: gzip")),
    "gzip that is cut": _always(http(gzip.compress(b"x" * 5000)[:20], "200 OK", "Content-Encoding: gzip")),
    "a body that is cut": _always(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"),
    "no HTTP": _always(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "a connection that is closed": _always(b""),
    "204": _always(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "301": _always(http("", "301 Moved Permanently", f"Location: https://elsewhere.example/{KEY}")),
    "307 to itself": _always(http("", "307 Temporary Redirect", "Location: /")),
    "400 with an error object": _always(http('{"error": {"code": 400, "message": "bad"}}', "400 Bad Request")),
    "401": _always(http("invalid api key", "401 Unauthorized")),
    "403 with HTML": _always(http("<html>", "403 Forbidden")),
    "429": _always(http("Too many requests", "429 Too Many Requests", "Retry-After: 1")),
    "500 with a proper answer": lambda question, result: proper(question, result).replace(b"200 OK", b"500 Oops"),
    "502": _always(http("<html>bad gateway</html>", "502 Bad Gateway")),
    "503": _always(http("", "503 Service Unavailable")),
    "599": _always(http("", "599 Odd")),
}
