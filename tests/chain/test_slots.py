"""Slots, heights, blockhashes and what the node says of itself."""

from solana.rpc.async_api import AsyncClient
from solana.rpc.commitment import Commitment, Confirmed, Finalized, Processed
from solders.hash import Hash
from solders.message import MessageV0

from tests.chain.node import ChainNode, eventually
from tests.chain.wallet import Wallets, memo

DEVNET = "EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxPkrZBG"


async def test_the_node_says_that_it_is_healthy_and_devnet(rpc: AsyncClient, node: ChainNode) -> None:
    assert await rpc.is_connected()
    assert await node.result("getHealth") == "ok"
    assert str((await rpc.get_genesis_hash()).value) == DEVNET
    assert (await rpc.get_version()).value.solana_core.count(".") == 2


async def test_finalized_lies_32_slots_behind_confirmed_and_processed(node: ChainNode) -> None:
    batch = [
        {"jsonrpc": "2.0", "id": name, "method": "getSlot", "params": [{"commitment": name}]}
        for name in ("processed", "confirmed", "finalized")
    ]
    answers = {each["id"]: each["result"] for each in (await node.http.post("/", json=batch)).json()}
    assert answers["processed"] - 4 <= answers["confirmed"] < answers["processed"]
    assert answers["processed"] - 33 <= answers["finalized"] <= answers["processed"] - 32


async def test_slots_go_by_and_some_have_no_block(rpc: AsyncClient) -> None:
    before = (await rpc.get_epoch_info(Processed)).value

    async def later() -> bool:
        return (await rpc.get_slot(Processed)).value >= before.absolute_slot + 40

    await eventually(later)
    after = (await rpc.get_epoch_info(Processed)).value
    slots, blocks = after.absolute_slot - before.absolute_slot, after.block_height - before.block_height
    assert 0 < slots - blocks < slots / 4
    assert after.absolute_slot == after.epoch * after.slots_in_epoch + after.slot_index
    assert (await rpc.get_block_height(Finalized)).value < after.block_height


async def test_a_blockhash_is_valid_for_150_blocks_from_its_own(rpc: AsyncClient) -> None:
    latest = (await rpc.get_latest_blockhash(Confirmed)).value
    height = (await rpc.get_block_height(Confirmed)).value
    assert 0 <= height + 150 - latest.last_valid_block_height < 100


async def test_a_blockhash_is_known_at_processed_before_it_is_at_finalized(standing_node: ChainNode) -> None:
    node = standing_node
    newest = await node.result("getLatestBlockhash", {"commitment": "processed"})
    blockhash = newest["value"]["blockhash"]
    assert (await node.result("isBlockhashValid", blockhash, {"commitment": "processed"}))["value"]
    assert not (await node.result("isBlockhashValid", blockhash, {"commitment": "finalized"}))["value"]


async def test_an_unknown_blockhash_is_not_valid(node: ChainNode) -> None:
    answer = await node.result("isBlockhashValid", str(Hash.new_unique()), {"commitment": "processed"})
    assert answer["value"] is False


async def test_a_slot_that_is_not_reached_is_refused_with_the_slot_that_is(node: ChainNode) -> None:
    far = {"commitment": "finalized", "minContextSlot": 500_000_000}
    key = "11111111111111111111111111111111"
    requests: dict[str, list[object]] = {
        "getSlot": [far],
        "getBlockHeight": [far],
        "getEpochInfo": [far],
        "getTransactionCount": [far],
        "getLatestBlockhash": [far],
        "isBlockhashValid": [key, far],
        "getBalance": [key, far],
        "getAccountInfo": [key, far],
        "getMultipleAccounts": [[key], far],
        "getTokenAccountsByOwner": [key, {"mint": key}, far],
        "getSignaturesForAddress": [key, far],
    }
    for method, params in requests.items():
        error = await node.error(method, *params)
        assert error["code"] == -32016, method
        assert error["data"]["contextSlot"] < 500_000_000


async def test_a_slot_that_is_reached_may_be_asked_for(node: ChainNode) -> None:
    slot = await node.result("getSlot")
    answer = await node.result("getLatestBlockhash", {"minContextSlot": slot})
    assert answer["context"]["slot"] >= slot


async def test_a_block_has_a_time_and_an_empty_slot_has_none(rpc: AsyncClient) -> None:
    slot = (await rpc.get_slot(Commitment("confirmed"))).value
    times = [(await rpc.get_block_time(each)).value for each in range(slot - 12, slot)]
    assert times.count(None) == 1


async def test_the_ledger_reaches_back_to_genesis(rpc: AsyncClient) -> None:
    assert (await rpc.get_first_available_block()).value == 0
    assert (await rpc.get_minimum_ledger_slot()).value == 0


async def test_fees_are_told_in_advance(rpc: AsyncClient, wallets: Wallets) -> None:
    payer = await wallets.rich()
    transaction = await wallets.build([memo("fee")], payer)
    message = transaction.message
    assert isinstance(message, MessageV0)
    assert (await rpc.get_fee_for_message(message, Processed)).value == 5_000
    assert {each.prioritization_fee for each in (await rpc.get_recent_prioritization_fees()).value} == {0}


async def test_requests_that_make_no_sense_get_the_standard_errors(node: ChainNode) -> None:
    assert (await node.error("getMoney"))["code"] == -32601
    assert (await node.error("getBalance"))["code"] == -32602
    assert (await node.error("getBalance", "not base58!"))["code"] == -32602
    assert (await node.error("getSlot", {"commitment": "certain"}))["code"] == -32602
    assert (await node.error("getSlot", {}, {}))["code"] == -32602
    assert (await node.http.post("/", content=b"{")).json()["error"]["code"] == -32700
    assert (await node.http.post("/", json=[])).json()["error"]["code"] == -32600
    assert (await node.http.post("/", json=[1])).json()[0]["error"]["code"] == -32600
    assert (await node.http.post("/", content=b" " * 60_000)).status_code == 413
