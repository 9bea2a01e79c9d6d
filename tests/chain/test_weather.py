"""A node that lags, and a chain that stands still."""

import asyncio

import httpx
import pytest
from solana.rpc.commitment import Processed
from solders.keypair import Keypair

from tests.chain.node import ChainNode, eventually
from tests.chain.test_sending import BLIND, PREFLIGHT, wire
from tests.chain.wallet import SOL, Wallets, memo

TIP = {"commitment": "processed"}


async def reach(node: ChainNode, slot: int) -> None:
    async def reached() -> bool:
        return bool(await node.result("getSlot", TIP) >= slot)

    await eventually(reached)


async def test_a_lagging_node_has_not_seen_what_is_new(own_node: ChainNode) -> None:
    wallets = Wallets(own_node.rpc)
    payer = await wallets.rich()
    await reach(own_node, await own_node.result("getSlot", TIP) + 2)
    signature = str(await wallets.send([], payer))
    blockhash = str(await wallets.blockhash())
    seen = await own_node.result("getLatestBlockhash", TIP)
    await own_node.weather(lag_slots=100)
    behind = await own_node.result("getLatestBlockhash", TIP)
    assert behind["context"]["slot"] < seen["context"]["slot"]
    assert behind["value"]["lastValidBlockHeight"] < seen["value"]["lastValidBlockHeight"]
    assert (await own_node.result("getSignatureStatuses", [signature]))["value"] == [None]
    assert await own_node.result("getSignaturesForAddress", str(payer.pubkey()), {"commitment": "confirmed"}) == []
    asked = {"commitment": "confirmed", "maxSupportedTransactionVersion": 0}
    assert await own_node.result("getTransaction", signature, asked) is None
    assert (await own_node.result("isBlockhashValid", blockhash, TIP))["value"] is False
    assert (await own_node.result("getBalance", str(payer.pubkey()), TIP))["value"] == 0
    slot = seen["context"]["slot"]
    error = await own_node.error("getBalance", str(payer.pubkey()), {**TIP, "minContextSlot": slot})
    assert (error["code"], error["data"]["contextSlot"] < slot) == (-32016, True)
    await reach(own_node, slot)
    assert (await own_node.result("getSignatureStatuses", [signature]))["value"][0]["slot"] <= slot


async def test_a_lagging_node_passes_on_what_it_cannot_judge(own_node: ChainNode) -> None:
    wallets = Wallets(own_node.rpc)
    payer = await wallets.rich()
    payment = await wallets.build([memo("new")], payer)
    await own_node.weather(lag_slots=100)
    error = await own_node.error("sendTransaction", wire(payment), PREFLIGHT)
    assert error["data"]["err"] == "BlockhashNotFound"
    signature = await own_node.result("sendTransaction", wire(payment), BLIND)
    await own_node.weather()
    assert (await own_node.result("getSignatureStatuses", [signature]))["value"][0]["err"] is None


async def test_a_node_that_lags_far_behind_says_that_it_is_not_healthy(own_node: ChainNode) -> None:
    await own_node.weather(lag_slots=129)
    error = await own_node.error("getHealth")
    assert (error["code"], error["data"]["numSlotsBehind"]) == (-32005, 129)
    await own_node.weather()
    assert await own_node.result("getHealth") == "ok"


async def test_nothing_becomes_final_and_nothing_expires_while_the_chain_stands_still(own_node: ChainNode) -> None:
    wallets = Wallets(own_node.rpc)
    payer = await wallets.rich()
    await own_node.weather(stand_still=True)
    before = await own_node.result("getLatestBlockhash", TIP)
    signature = str(await wallets.send([], payer))
    statuses = [(await own_node.result("getSignatureStatuses", [signature]))["value"][0] for _ in range(50)]
    assert {each["confirmationStatus"] for each in statuses} == {"processed"}
    assert await own_node.result("getLatestBlockhash", TIP) == before
    await own_node.weather()
    await reach(own_node, before["context"]["slot"] + 40)
    status = (await own_node.result("getSignatureStatuses", [signature]))["value"][0]
    assert status["confirmationStatus"] == "finalized"


async def test_a_lost_answer_leaves_its_transaction_on_the_chain(own_node: ChainNode) -> None:
    wallets = Wallets(own_node.rpc)
    payer = await wallets.rich()
    payment = await wallets.build([memo("lost")], payer)
    await own_node.weather(lose_answers=1)
    with pytest.raises(httpx.TransportError):
        await own_node.ask("sendTransaction", wire(payment), BLIND)
    await own_node.weather()
    status = (await own_node.rpc.get_signature_statuses([payment.signatures[0]])).value[0]
    assert status is not None


async def test_many_clients_at_once_lose_no_lamport(own_node: ChainNode) -> None:
    wallets = Wallets(own_node.rpc)
    receiver = Keypair().pubkey()
    answers = [own_node.rpc.request_airdrop(receiver, SOL) for _ in range(40)]
    signatures = {answer.value for answer in await asyncio.gather(*answers)}
    assert len(signatures) == 40
    assert (await wallets.rpc.get_balance(receiver, Processed)).value == 40 * SOL
