"""What the WebSocket tells of accounts, signatures and slots, to the official client."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import websockets
from solana.rpc.commitment import Commitment, Confirmed, Finalized, Processed
from solana.rpc.websocket_api import SolanaWsClientProtocol, SubscriptionError, connect
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.rpc.responses import (
    AccountNotification,
    AccountNotificationJsonParsed,
    SignatureNotification,
    SlotNotification,
    UnsubscribeResult,
)
from solders.token.state import TokenAccount

from tests.chain.listening import PATIENCE_S, holding, raw, receive, subscription
from tests.chain.node import ChainNode
from tests.chain.wallet import NO_PREFLIGHT, SOL, Token, Wallets, build, pay_sol

COMMITMENTS = (Processed, Confirmed, Finalized)


@pytest.fixture
async def ws(node: ChainNode) -> AsyncIterator[SolanaWsClientProtocol]:
    async with connect(node.ws_url) as ws:
        yield ws


async def test_a_transfer_is_told_with_the_account_after_it(
    ws: SolanaWsClientProtocol, wallets: Wallets, token: Token
) -> None:
    owner, source = await holding(wallets, token)
    _, destination = await holding(wallets, token)
    await ws.account_subscribe(destination, Confirmed, "base64")
    number = await subscription(ws)
    signature = await wallets.send([token.transfer(source, destination, owner.pubkey(), 7)], owner)
    told = await receive(ws, AccountNotification)
    assert told.subscription == number
    assert TokenAccount.from_bytes(bytes(told.result.value.data)[:165]).amount == 1_007
    assert told.result.value.owner == token.program
    status = (await wallets.rpc.get_signature_statuses([signature])).value[0]
    assert status is not None
    assert status.slot <= told.result.context.slot
    assert await wallets.balance(destination) == 1_007


async def test_a_token_account_can_be_told_parsed(ws: SolanaWsClientProtocol, wallets: Wallets, token: Token) -> None:
    owner, source = await holding(wallets, token)
    await ws.account_subscribe(source, Processed, "jsonParsed")
    await subscription(ws)
    await wallets.send([pay_sol(owner.pubkey(), source, 5)], owner)
    parsed: Any = (await receive(ws, AccountNotificationJsonParsed)).result.value.data.parsed
    assert parsed["info"]["tokenAmount"]["amount"] == "1000"


async def test_processed_is_told_before_confirmed_and_confirmed_before_finalized(
    ws: SolanaWsClientProtocol, wallets: Wallets
) -> None:
    receiver = Keypair().pubkey()
    numbers = {}
    for commitment in reversed(COMMITMENTS):
        await ws.account_subscribe(receiver, commitment)
        numbers[await subscription(ws)] = commitment
    await wallets.rpc.request_airdrop(receiver, SOL)
    told = [await receive(ws, AccountNotification) for _ in COMMITMENTS]
    assert tuple(numbers[each.subscription] for each in told) == COMMITMENTS
    assert {each.result.value.lamports for each in told} == {SOL}
    view = await wallets.rpc.get_slot(Finalized)
    assert told[-1].result.context.slot <= view.value


async def test_every_transfer_after_subscribing_is_seen_in_the_end(
    ws: SolanaWsClientProtocol, wallets: Wallets
) -> None:
    receiver = Keypair().pubkey()
    await ws.account_subscribe(receiver, Confirmed)
    await subscription(ws)
    for _ in range(10):
        await wallets.rpc.request_airdrop(receiver, SOL)
    seen: list[int] = []
    while not seen or seen[-1] < 10 * SOL:
        seen.append((await receive(ws, AccountNotification)).result.value.lamports)
    assert seen == sorted(set(seen))


async def test_a_deleted_account_is_told_as_an_empty_one(ws: SolanaWsClientProtocol, wallets: Wallets) -> None:
    wallet = await wallets.rich(SOL)
    await ws.account_subscribe(wallet.pubkey(), Processed)
    await subscription(ws)
    blockhash = await wallets.blockhash()
    emptied = build(blockhash, [pay_sol(wallet.pubkey(), Keypair().pubkey(), SOL - 5_000)], wallet)
    await wallets.rpc.send_raw_transaction(bytes(emptied), NO_PREFLIGHT)
    told = await receive(ws, AccountNotification)
    while told.result.value.lamports:
        told = await receive(ws, AccountNotification)
    assert told.result.value.owner == Pubkey.default()


@pytest.mark.parametrize("commitment", COMMITMENTS)
async def test_a_signature_is_told_once_at_its_commitment(
    ws: SolanaWsClientProtocol, wallets: Wallets, commitment: Commitment
) -> None:
    wallet = await wallets.rich()
    transaction = await wallets.build([pay_sol(wallet.pubkey(), Keypair().pubkey(), SOL)], wallet)
    signature = transaction.signatures[0]
    await ws.signature_subscribe(signature, commitment)
    number = await subscription(ws)
    await wallets.rpc.send_raw_transaction(bytes(transaction), NO_PREFLIGHT)
    told = await receive(ws, SignatureNotification)
    assert (told.subscription, told.result.value.err) == (number, None)
    status = (await wallets.rpc.get_signature_statuses([signature])).value[0]
    assert status is not None
    assert int(status.confirmation_status or 0) >= COMMITMENTS.index(commitment)
    await ws.signature_unsubscribe(number)
    with pytest.raises(SubscriptionError, match="Invalid subscription id"):
        await ws.recv()  # it had ended by itself


async def test_a_signature_that_landed_long_ago_is_told_too(ws: SolanaWsClientProtocol, wallets: Wallets) -> None:
    signature = await wallets.send([], await wallets.rich())
    await wallets.wait(signature, "finalized")
    await ws.signature_subscribe(signature)
    await subscription(ws)
    assert (await receive(ws, SignatureNotification)).result.value.err is None


async def test_a_failed_transaction_is_told_with_its_error(node: ChainNode, wallets: Wallets) -> None:
    wallet = await wallets.rich(SOL)
    failing = [pay_sol(wallet.pubkey(), Keypair().pubkey(), 2 * SOL)]
    signature = await wallets.send(failing, wallet, options=NO_PREFLIGHT)
    async with websockets.connect(node.ws_url) as ws:  # solders cannot read a custom error here
        await raw(ws, {"jsonrpc": "2.0", "id": 1, "method": "signatureSubscribe", "params": [str(signature)]})
        told = json.loads(await asyncio.wait_for(ws.recv(), PATIENCE_S))
    assert told["params"]["result"]["value"] == {"err": {"InstructionError": [0, {"Custom": 1}]}}


async def test_a_signature_can_be_told_as_soon_as_it_is_received(node: ChainNode, wallets: Wallets) -> None:
    async with websockets.connect(node.ws_url) as ws:
        signature = await wallets.send([], await wallets.rich())
        config = {"commitment": "confirmed", "enableReceivedNotification": True}
        request = {"jsonrpc": "2.0", "id": 1, "method": "signatureSubscribe", "params": [str(signature), config]}
        await raw(ws, request)
        values = [json.loads(await ws.recv())["params"]["result"]["value"] for _ in range(2)]
    assert values == ["receivedSignature", {"err": None}]


async def test_slots_follow_each_other(ws: SolanaWsClientProtocol) -> None:
    await ws.slot_subscribe()
    await subscription(ws)
    slots = [(await receive(ws, SlotNotification)).result for _ in range(30)]
    assert [each.parent for each in slots[1:]] == [each.slot for each in slots[:-1]]
    assert all(each.root <= each.slot - 32 for each in slots)
    assert {each.slot - each.parent for each in slots} == {1, 2}  # some slots have no block


async def test_what_is_unsubscribed_comes_no_more(ws: SolanaWsClientProtocol, wallets: Wallets) -> None:
    receiver = Keypair().pubkey()
    await ws.slot_subscribe()
    slots = await subscription(ws)
    await ws.slot_unsubscribe(slots)
    (message,) = await ws.recv()
    while not isinstance(message, UnsubscribeResult):
        assert isinstance(message, SlotNotification)
        (message,) = await ws.recv()
    assert message.result
    await ws.account_subscribe(receiver, Processed)
    await subscription(ws)
    await wallets.rpc.request_airdrop(receiver, SOL)
    await receive(ws, AccountNotification)  # and no slot before it


async def test_the_same_subscription_twice_is_one(ws: SolanaWsClientProtocol) -> None:
    key = Keypair().pubkey()
    await ws.account_subscribe(key, Confirmed)
    await ws.account_subscribe(key, Confirmed)
    await ws.account_subscribe(key, Finalized)
    first, again, other = [await subscription(ws) for _ in range(3)]
    assert first == again != other


async def test_data_is_told_as_asked(node: ChainNode, wallets: Wallets, token: Token) -> None:
    owner, account = await holding(wallets, token)
    asked: dict[str, dict[str, Any]] = {
        "base64": {"encoding": "base64"},
        "slice": {"encoding": "base58", "dataSlice": {"offset": 64, "length": 8}},
        "binary": {},
    }
    async with websockets.connect(node.ws_url) as ws:
        names = {}
        for name, config in asked.items():
            params = [str(account), {"commitment": "processed", **config}]
            answer = await raw(ws, {"jsonrpc": "2.0", "id": 1, "method": "accountSubscribe", "params": params})
            names[answer["result"]] = name
        await wallets.send([pay_sol(owner.pubkey(), account, 9)], owner)
        data = {}
        for _ in asked:
            told = json.loads(await ws.recv())
            assert told["method"] == "accountNotification"
            value = told["params"]["result"]["value"]
            assert sorted(told["params"]["result"]["context"]) == ["slot"]
            data[names[told["params"]["subscription"]]] = value["data"]
    assert base64.b64decode(data["base64"][0])[64:72] == (1_000).to_bytes(8, "little")
    assert data["slice"][1] == "base58"
    assert data["binary"] == "error: data too large for bs58 encoding"
