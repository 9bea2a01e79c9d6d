"""The ASGI middleware that makes a service of the embedded stack fail, and the HTTP interface that says how."""

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from pydantic import ValidationError

from localnet.weather.faults import Weather, WeatherState

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

CONTROL_PATH = "/weather"


class WeatherMiddleware:
    """Puts a service under a `WeatherState`.

    `GET /weather` answers the faults in force; `PUT /weather` merges a JSON object into them, an empty object
    clears all. The control path itself is always fair.
    """

    def __init__(self, app: AsgiApp, weather: WeatherState) -> None:
        self.app = app
        self.weather = weather

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif scope["path"] == CONTROL_PATH:
            await self._control(scope, receive, send)
        else:
            await self._suffer(scope, receive, send)

    async def _suffer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.weather.now.latency_ms:
            await asyncio.sleep(self.weather.now.latency_ms / 1000)
        faults = self.weather.now  # it may have changed meanwhile
        if faults.outage:
            await _answer(send, 503, {"error": "out of service (weather: outage)"})
        elif self.weather.rolls(faults.error_rate):
            await _answer(send, 500, {"error": "internal error (weather: error_rate)"})
        elif self.weather.rolls(faults.lose_answers):
            await self.app(scope, receive, _nowhere)
            await _cut(send)
        else:
            await self.app(scope, receive, send)

    async def _control(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "GET":
            await _answer(send, 200, self.weather.now.model_dump())
            return
        if scope["method"] != "PUT":
            await _answer(send, 405, {"error": "GET or PUT"})
            return
        try:
            change = json.loads(await _body(receive) or b"{}")
            base = self.weather.now.model_dump() if change else {}
            self.weather.now = Weather.model_validate({**base, **change})
        except (ValueError, TypeError, ValidationError) as error:
            await _answer(send, 422, {"error": str(error)})
        else:
            await _answer(send, 200, self.weather.now.model_dump())


async def _body(receive: Receive) -> bytes:
    chunks: list[bytes] = []
    while True:
        message = await receive()
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(chunks)


async def _answer(send: Send, status: int, content: object) -> None:
    body = json.dumps(content).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _nowhere(_message: Message) -> None:
    """An answer that is lost: the work behind it was done."""


async def _cut(send: Send) -> None:
    """Break off in mid-body: the server closes the connection on an answer that is never completed."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"1000000"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{", "more_body": True})
