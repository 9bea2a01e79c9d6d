"""WebSocket connections: junk, bounds, clients that do not read, and a chain that goes away."""

import asyncio
import contextlib
import json

import pytest
import websockets
from solana.rpc.commitment import Processed
from solana.rpc.websocket_api import connect
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.rpc.responses import AccountNotification, SlotNotification

from localnet.chain.rpc.pubsub import MAX_SUBSCRIPTIONS, MAX_UNREAD
from tests.chain.listening import raw, read_all, receive, subscription
from tests.chain.node import ChainNode
from tests.chain.wallet import SOL, Wallets


async def test_junk_is_answered_and_the_connection_lives(node: ChainNode) -> None:
    key = str(Keypair().pubkey())
    junk: list[tuple[object, int]] = [
        ("{", -32700),
        (b"\xff\x00", -32700),
        ("[]", -32600),
        ("7", -32600),
        ({"jsonrpc": "2.0", "id": 1}, -32600),
        ({"jsonrpc": "2.0", "id": 1, "method": "getSlot"}, -32601),
        ({"jsonrpc": "2.0", "id": 1, "method": "voteSubscribe"}, -32601),
        ({"jsonrpc": "2.0", "id": 1, "method": "accountSubscribe"}, -32602),
        ({"jsonrpc": "2.0", "id": 1, "method": "accountSubscribe", "params": ["0OIl"]}, -32602),
        ({"jsonrpc": "2.0", "id": 1, "method": "accountSubscribe", "params": [key, {"commitment": "sure"}]}, -32602),
        ({"jsonrpc": "2.0", "id": 1, "method": "signatureSubscribe", "params": [key]}, -32602),
        ({"jsonrpc": "2.0", "id": 1, "method": "slotSubscribe", "params": [1]}, -32602),
        ({"jsonrpc": "2.0", "id": 1, "method": "slotUnsubscribe", "params": [2**63]}, -32602),
        ({"jsonrpc": "2.0", "id": 1, "method": "slotUnsubscribe", "params": ["a"]}, -32602),
    ]
    async with websockets.connect(node.ws_url) as ws:
        for request, code in junk:
            assert (await raw(ws, request))["error"]["code"] == code, request
        answer = await raw(ws, {"jsonrpc": "2.0", "id": "x", "method": "slotSubscribe"})
        assert (answer["id"], type(answer["result"])) == ("x", int)


async def test_a_subscription_of_another_connection_or_kind_cannot_be_ended(node: ChainNode) -> None:
    async with websockets.connect(node.ws_url) as mine, websockets.connect(node.ws_url) as other:
        subscribe = {"jsonrpc": "2.0", "id": 1, "method": "accountSubscribe", "params": [str(Keypair().pubkey())]}
        number = (await raw(mine, subscribe))["result"]
        end = {"jsonrpc": "2.0", "id": 2, "method": "accountUnsubscribe", "params": [number]}
        assert (await raw(other, end))["error"] == {"code": -32602, "message": "Invalid subscription id."}
        assert (await raw(mine, {**end, "method": "slotUnsubscribe"}))["error"]["code"] == -32602
        assert (await raw(mine, end))["result"] is True


async def test_subscriptions_and_messages_are_bounded(node: ChainNode) -> None:
    async with websockets.connect(node.ws_url) as ws:
        for _ in range(MAX_SUBSCRIPTIONS):
            await ws.send(
                json.dumps(
                    {"jsonrpc": "2.0", "id": 1, "method": "accountSubscribe", "params": [str(Pubkey.new_unique())]}
                )
            )
            await ws.recv()
        refused = await raw(ws, {"jsonrpc": "2.0", "id": 1, "method": "slotSubscribe"})
        assert refused["error"]["code"] == -32603
        await ws.send(" " * 5_000)
        with pytest.raises(websockets.ConnectionClosedError) as closed:
            await ws.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


async def test_after_a_restart_of_the_chain_a_client_subscribes_again(own_node: ChainNode) -> None:
    wallets = Wallets(own_node.rpc)
    receiver = Keypair().pubkey()
    async with connect(own_node.ws_url) as ws:
        await ws.account_subscribe(receiver, Processed)
        await subscription(ws)
        assert own_node.stop() == 0
        with pytest.raises(websockets.ConnectionClosed):
            await ws.recv()
    await own_node.start()
    async with connect(own_node.ws_url) as ws:
        await ws.account_subscribe(receiver, Processed)
        await subscription(ws)
        await wallets.rpc.request_airdrop(receiver, SOL)
        assert (await receive(ws, AccountNotification)).result.value.lamports == SOL


async def test_a_lagging_node_tells_late(own_node: ChainNode) -> None:
    wallets = Wallets(own_node.rpc)
    receiver = Keypair().pubkey()
    await own_node.weather(lag_slots=40)
    async with connect(own_node.ws_url) as ws:
        await ws.account_subscribe(receiver, Processed)
        await subscription(ws)
        await own_node.rpc.request_airdrop(receiver, SOL)
        told = await receive(ws, AccountNotification)
        assert told.result.value.lamports == SOL
        assert (await wallets.rpc.get_balance(receiver, Processed)).value == SOL


async def test_an_outage_closes_every_connection_and_lets_nobody_in(own_node: ChainNode) -> None:
    async with connect(own_node.ws_url) as ws:
        await ws.slot_subscribe()
        await subscription(ws)
        await own_node.weather(outage=True)
        with pytest.raises(websockets.ConnectionClosed):
            await read_all(ws)
    with pytest.raises(websockets.InvalidStatus):
        async with connect(own_node.ws_url):
            pass
    await own_node.weather()
    async with connect(own_node.ws_url) as ws:
        await ws.slot_subscribe()
        await subscription(ws)


async def test_a_client_that_does_not_read_is_cut_off_and_others_go_on(own_node: ChainNode) -> None:
    question = json.dumps([{"jsonrpc": "2.0", "id": "x" * 900, "method": "none"}] * 4)
    client = websockets.connect(own_node.ws_url, compression=None, max_queue=1, close_timeout=1)
    async with client as deaf, connect(own_node.ws_url) as ws:
        deaf.transport.pause_reading()
        sent = 0
        with contextlib.suppress(websockets.ConnectionClosed, TimeoutError):
            while sent < 10 * MAX_UNREAD:
                await asyncio.wait_for(deaf.send(question), 1)
                sent += 1
        assert MAX_UNREAD < sent < 10 * MAX_UNREAD
        await ws.slot_subscribe()
        await subscription(ws)
        assert (await receive(ws, SlotNotification)).result.slot
        deaf.transport.resume_reading()
        with pytest.raises(websockets.ConnectionClosed):
            await read_all(deaf)
