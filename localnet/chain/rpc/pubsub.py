"""WebSocket connections and their subscriptions; each is sent what is new once in a slot.

A subscription is asked after every slot. What it calls processed is the newest block that is complete: the chain's
newest one still takes transactions. A connection that does not read what it is sent is closed, as on a cluster.
"""

import asyncio
import contextlib
import itertools
import json
from collections.abc import Iterator
from typing import Any, Protocol

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from localnet.chain.bank import Bank
from localnet.chain.blocks import Block, Commitment
from localnet.chain.errors import INTERNAL_ERROR, INVALID_PARAMS, RpcError
from localnet.chain.rpc.methods import Methods, Node
from localnet.weather.faults import WeatherState

MAX_SUBSCRIPTIONS = 1_000  # a connection
MAX_UNREAD = 2_000  # messages that a connection has not taken yet
MAX_MESSAGE_BYTES = 4_096  # of a request; Agave's rpc_pubsub_service
_CLOSE_S = 1
_GOING_AWAY, _TRY_AGAIN_LATER = 1001, 1013  # RFC 6455, section 7.4.1, and its registry

Subscriptions = dict[int, "Subscription"]


class Subscription(Protocol):
    """One subscription. Equal `terms` on a connection are one subscription; `over` once nothing more will come.

    `depth` is that of its commitment: where two are told in one slot, the surer comes later.
    """

    @property
    def kind(self) -> str: ...
    @property
    def terms(self) -> tuple[object, ...]: ...
    @property
    def depth(self) -> int: ...
    @property
    def over(self) -> bool: ...

    def news(self) -> Iterator[Any]:
        """The results to send now, each at most once."""
        ...


class WebSocketConnection(Node):
    """A node as one WebSocket connection talks to it: what it subscribed to and what it has not read yet."""

    def __init__(self, bank: Bank, weather: WeatherState, numbers: Iterator[int]) -> None:
        super().__init__(bank, weather)
        self._subscriptions: Subscriptions = {}
        self._numbers = numbers
        self._unread: asyncio.Queue[str] = asyncio.Queue()
        self._closing = asyncio.Event()

    def complete(self, commitment: Commitment) -> Block:
        """The newest block with this commitment to which nothing can be added any more."""
        window = self.bank.window
        return window.at(min(self.view.block(commitment).slot, window.tip.slot - 1))

    def subscribe(self, subscription: Subscription) -> int:
        """The number of the subscription; the same again for the same terms. RpcError -32603 for one too many."""
        for number, known in self._subscriptions.items():
            if known.terms == subscription.terms:
                return number
        if len(self._subscriptions) >= MAX_SUBSCRIPTIONS:
            text = "Internal Error: Subscription refused. Node subscription limit reached"
            raise RpcError(INTERNAL_ERROR, text)
        number = next(self._numbers)
        self._subscriptions[number] = subscription
        return number

    def unsubscribe(self, number: int, kind: str) -> bool:
        """End a subscription; RpcError -32602 when this connection has none of that number and kind."""
        subscription = self._subscriptions.get(number)
        if subscription is None or subscription.kind != kind:
            raise RpcError(INVALID_PARAMS, "Invalid subscription id.")
        del self._subscriptions[number]
        return True

    def announce(self) -> None:
        """Put what is new behind what is not read yet."""
        for number, subscription in sorted(self._subscriptions.items(), key=lambda each: each[1].depth):
            for result in subscription.news():
                content = {"result": result, "subscription": number}
                self._put({"jsonrpc": "2.0", "method": f"{subscription.kind}Notification", "params": content})
            if subscription.over:
                del self._subscriptions[number]

    def close(self) -> None:
        """Let the connection end; what is not read yet is lost."""
        self._closing.set()

    async def serve(self, socket: WebSocket, methods: Methods) -> None:
        """Answer requests and send notifications, until either side closes."""
        work = (self._read(socket, methods), self._write(socket), self._closing.wait())
        tasks = [asyncio.create_task(each) for each in work]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except WebSocketDisconnect:
            return
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if socket.application_state is WebSocketState.CONNECTED:
            with contextlib.suppress(TimeoutError, WebSocketDisconnect):  # it does not read, or went meanwhile
                await asyncio.wait_for(socket.close(_GOING_AWAY), _CLOSE_S)

    async def _read(self, socket: WebSocket, methods: Methods) -> None:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            body = message.get("bytes") or (message.get("text") or "").encode()
            answer = methods.answer(self, body)
            if answer is not None:
                self._send(answer.decode())

    async def _write(self, socket: WebSocket) -> None:
        while True:
            await socket.send_text(await self._unread.get())

    def _put(self, content: Any) -> None:
        self._send(json.dumps(content, separators=(",", ":"), ensure_ascii=False))

    def _send(self, text: str) -> None:
        if self._unread.qsize() >= MAX_UNREAD:
            self.close()
        else:
            self._unread.put_nowait(text)


class PubSub:
    """All open connections to one node. During an outage (weather) it closes them and lets nobody in."""

    def __init__(self, bank: Bank, weather: WeatherState, methods: Methods) -> None:
        self._bank = bank
        self._sky = weather
        self._methods = methods
        self._numbers = itertools.count()
        self._open: set[WebSocketConnection] = set()

    async def serve(self, socket: WebSocket) -> None:
        """Serve one connection until it ends."""
        if self._sky.now.outage:
            await socket.close(_TRY_AGAIN_LATER)  # before it is accepted: HTTP 403
            return
        await socket.accept()
        connection = WebSocketConnection(self._bank, self._sky, self._numbers)
        self._open.add(connection)
        try:
            await connection.serve(socket, self._methods)
        finally:
            self._open.discard(connection)

    def announce(self) -> None:
        """Tell every connection what is new; called after each slot."""
        for connection in self._open:
            if self._sky.now.outage:
                connection.close()
            else:
                connection.announce()
