"""Faults that a stand-in takes at run time: one ASGI middleware and one small HTTP interface for all of them.

What must not live here: knowledge of payments or of the chain; a service reads its own extra faults (a lagging
node, slots that stand still, a price that changes) from the same `Weather` and acts on them itself.
"""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

CONTROL_PATH = "/weather"


class Weather(BaseModel):
    """The faults in force; the default is fair weather.

    Rates are probabilities per request in 0..1. `lose_answers` does the work and then cuts the connection in the
    middle of the answer. `lag_slots` and `stand_still` concern the chain, `price_factor` the sellers.
    """

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    latency_ms: int = Field(0, ge=0, le=600_000)
    error_rate: float = Field(0.0, ge=0, le=1)
    outage: bool = False
    lose_answers: float = Field(0.0, ge=0, le=1)
    lag_slots: int = Field(0, ge=0, le=100_000)
    stand_still: bool = False
    price_factor: float = Field(1.0, gt=0, le=1000)


class Sky:
    """Holds one service's weather; shared by its middleware and its own code, changed over HTTP."""

    def __init__(self, seed: int | None = None) -> None:
        self.now = Weather()
        self.dice = random.Random(seed)

    def rolls(self, rate: float) -> bool:
        """Whether a fault of this rate happens to the request at hand."""
        return rate > 0 and self.dice.random() < rate


class WeatherMiddleware:
    """Puts a service under a `Sky`.

    `GET /weather` answers the faults in force; `PUT /weather` merges a JSON object into them, an empty object
    clears all. The control path itself is always fair.
    """

    def __init__(self, app: AsgiApp, sky: Sky) -> None:
        self.app = app
        self.sky = sky

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif scope["path"] == CONTROL_PATH:
            await self._control(scope, receive, send)
        else:
            await self._suffer(scope, receive, send)

    async def _suffer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.sky.now.latency_ms:
            await asyncio.sleep(self.sky.now.latency_ms / 1000)
        weather = self.sky.now  # it may have changed meanwhile
        if weather.outage:
            await _answer(send, 503, {"error": "out of service (weather: outage)"})
        elif self.sky.rolls(weather.error_rate):
            await _answer(send, 500, {"error": "internal error (weather: error_rate)"})
        elif self.sky.rolls(weather.lose_answers):
            await self.app(scope, receive, _nowhere)
            await _cut(send)
        else:
            await self.app(scope, receive, send)

    async def _control(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "GET":
            await _answer(send, 200, self.sky.now.model_dump())
            return
        if scope["method"] != "PUT":
            await _answer(send, 405, {"error": "GET or PUT"})
            return
        try:
            change = json.loads(await _body(receive) or b"{}")
            base = self.sky.now.model_dump() if change else {}
            self.sky.now = Weather.model_validate({**base, **change})
        except (ValueError, TypeError, ValidationError) as error:
            await _answer(send, 422, {"error": str(error)})
        else:
            await _answer(send, 200, self.sky.now.model_dump())


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
