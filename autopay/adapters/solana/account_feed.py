"""One WebSocket connection to a Solana node that many listeners share, and that is made again when it breaks."""

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import structlog
from pydantic import ValidationError
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from autopay.adapters.solana.answers import AccountData, AccountNotification, SubscriptionAnswer, WebSocketMessage
from autopay.adapters.solana.rpc import is_loopback, without_secrets
from autopay.domain.errors import ChainUnavailable

FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0
_CONFIG = {"encoding": "base64", "commitment": "confirmed"}
_BROKEN = (OSError, WebSocketException, ValidationError, ValueError)
"""The connection, or what came over it; a proxy variable that is none is a ValueError."""

log = structlog.get_logger("autopay.account_feed")


@dataclass(frozen=True)
class AccountChange:
    """An account as the node sent it after a change."""

    address: str
    slot: int
    account: AccountData


Inbox = asyncio.Queue[AccountChange | None]
"""What a listener receives: changes, and None when it should read its accounts, as a subscription began or was lost."""


class AccountFeed:
    """Subscribes, at confirmed, to the accounts that have listeners. Connects at the first one, and stays connected."""

    def __init__(self, ws_url: str) -> None:
        self._url = ws_url
        self._inboxes: dict[str, set[Inbox]] = {}
        self._requested: dict[int, str] = {}
        self._subscribed: dict[int, str] = {}
        self._ids = itertools.count(1)
        self._listeners_changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def listen(self, addresses: Collection[str]) -> Iterator[Inbox]:
        """Changes of these accounts are put into the inbox for as long as the context is open."""
        inbox: Inbox = asyncio.Queue()
        for address in addresses:
            self._inboxes.setdefault(address, set()).add(inbox)
        self._listeners_changed.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._stay_connected(), name="account feed")
        try:
            yield inbox
        finally:
            for address in set(addresses):
                self._inboxes[address].remove(inbox)
                if not self._inboxes[address]:
                    del self._inboxes[address]
            self._listeners_changed.set()

    def is_subscribed(self, addresses: Collection[str]) -> bool:
        """Whether the node has confirmed a subscription to each of these accounts."""
        return set(addresses) <= set(self._subscribed.values())

    async def close(self) -> None:
        """Close the connection for good."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _stay_connected(self) -> None:
        wait_s = FIRST_WAIT_S
        while True:
            began = time.monotonic()
            try:
                proxy: Literal[True] | None = None if is_loopback(self._url) else True
                async with connect(self._url, close_timeout=1, proxy=proxy) as socket, asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._subscribe(socket))
                    tasks.create_task(self._receive(socket))
            except* _BROKEN as errors:
                first = errors.exceptions[0]
                said = f"{type(first).__name__}: {first}" if not isinstance(first, ValidationError) else "unreadable"
                log.warning("no account feed", error=without_secrets(said, self._url), again_in_s=wait_s)
            finally:
                lost = set(self._subscribed.values())
                self._requested.clear()
                self._subscribed.clear()
                for address in lost:
                    self._publish(address, None)
            await asyncio.sleep(wait_s)
            held = time.monotonic() - began > LONGEST_WAIT_S
            wait_s = FIRST_WAIT_S if held else min(wait_s * 2, LONGEST_WAIT_S)

    async def _subscribe(self, socket: ClientConnection) -> None:
        """Subscribe to accounts that have listeners, and end the subscriptions of those that have none any more."""
        while True:
            self._listeners_changed.clear()
            for address in self._inboxes.keys() - set(self._requested.values()) - set(self._subscribed.values()):
                number = next(self._ids)
                self._requested[number] = address
                await _send(socket, number, "accountSubscribe", address, _CONFIG)
            for number in [each for each, address in self._subscribed.items() if address not in self._inboxes]:
                del self._subscribed[number]
                await _send(socket, next(self._ids), "accountUnsubscribe", number)
            await self._listeners_changed.wait()

    async def _receive(self, socket: ClientConnection) -> None:
        async for raw in socket:
            message = WebSocketMessage.model_validate_json(raw)
            if message.method == "accountNotification":
                note = AccountNotification.model_validate_json(raw).params
                address = self._subscribed.get(note.subscription)
                if address is not None:
                    self._publish(address, AccountChange(address, note.result.context.slot, note.result.value))
            elif message.id is None or (address := self._requested.pop(message.id, None)) is None:
                continue  # the answer to an accountUnsubscribe
            elif message.error is not None:  # too many, or not offered: listeners read instead
                log.warning("no subscription", error=without_secrets(str(message.error), self._url))
            else:
                self._subscription_began(SubscriptionAnswer.model_validate_json(raw).result, address)

    def _subscription_began(self, number: int, address: str) -> None:
        self._subscribed[number] = address
        self._publish(address, None)
        if address not in self._inboxes:
            self._listeners_changed.set()

    def _publish(self, address: str, change: AccountChange | None) -> None:
        for inbox in self._inboxes.get(address, ()):
            inbox.put_nowait(change)


async def try_subscription(ws_url: str, address: str) -> None:
    """Subscribe to one account and end it again, to see whether the node takes subscriptions.

    Raises:
        ChainUnavailable: why it does not.
    """
    proxy: Literal[True] | None = None if is_loopback(ws_url) else True
    try:
        async with connect(ws_url, close_timeout=1, proxy=proxy) as socket:
            await _send(socket, 1, "accountSubscribe", address, _CONFIG)
            async for raw in socket:
                message = WebSocketMessage.model_validate_json(raw)
                if message.id != 1:
                    continue
                if message.error is not None:
                    raise ChainUnavailable(f"accountSubscribe: {without_secrets(str(message.error), ws_url)}")
                return
    except ValidationError:
        raise ChainUnavailable("accountSubscribe: an unreadable answer") from None
    except _BROKEN as error:
        raise ChainUnavailable(without_secrets(f"{type(error).__name__}: {error}", ws_url)) from None
    raise ChainUnavailable("accountSubscribe: the connection ended without an answer")


async def _send(socket: ClientConnection, number: int, method: str, *params: Any) -> None:
    await socket.send(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}))
