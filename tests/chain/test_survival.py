"""A chain that is stopped or killed goes on where it was."""

import asyncio
import signal
import sqlite3
from pathlib import Path

import pytest
from solana.exceptions import SolanaRpcException
from solana.rpc.commitment import Processed
from solders.hash import Hash
from solders.keypair import Keypair
from solders.signature import Signature

from localnet.chain.store import Store
from tests.chain.conftest import CASH, USDC
from tests.chain.node import ChainNode
from tests.chain.test_sending import BLIND, PREFLIGHT, wire
from tests.chain.wallet import SOL, Wallets, build, memo, pay_sol

TIP = {"commitment": "processed"}


async def acknowledged_until_killed(node: ChainNode, receiver: Keypair) -> list[Signature]:
    """Airdrops of one SOL from several clients; the chain is killed while they are at it."""
    acknowledged: list[Signature] = []

    async def client() -> None:
        while True:
            answer = await node.rpc.request_airdrop(receiver.pubkey(), SOL)
            acknowledged.append(answer.value)
            if len(acknowledged) == 100:
                node.stop(signal.SIGKILL)

    with pytest.raises(SolanaRpcException):
        await asyncio.gather(*[client() for _ in range(4)])
    return acknowledged


async def test_what_was_acknowledged_survives_kill_9(own_node: ChainNode) -> None:
    receiver = Keypair()
    acknowledged = await acknowledged_until_killed(own_node, receiver)
    assert len(acknowledged) >= 100
    await own_node.start()
    statuses = (await own_node.rpc.get_signature_statuses(acknowledged, search_transaction_history=True)).value
    assert None not in statuses
    balance = (await own_node.rpc.get_balance(receiver.pubkey(), Processed)).value
    listed = (await own_node.rpc.get_signatures_for_address(receiver.pubkey())).value
    assert balance == len(listed) * SOL
    assert {each.signature for each in listed} >= set(acknowledged)


async def test_a_restart_keeps_accounts_blockhashes_and_the_order_of_slots(own_node: ChainNode) -> None:
    wallets = Wallets(own_node.rpc)
    payer = await wallets.rich()
    accounts = [await wallets.fund(token, payer.pubkey(), 42) for token in (USDC, CASH)]
    before = await own_node.result("getLatestBlockhash", TIP)
    landed = await wallets.build([memo("before")], payer)
    await own_node.result("sendTransaction", wire(landed), PREFLIGHT)
    held = build(Hash.from_string(before["value"]["blockhash"]), [memo("held back")], payer)
    own_node.stop(signal.SIGKILL)
    await own_node.start()
    after = await own_node.result("getLatestBlockhash", TIP)
    assert after["context"]["slot"] > before["context"]["slot"]
    assert after["value"]["lastValidBlockHeight"] >= before["value"]["lastValidBlockHeight"]
    for account in accounts:
        assert (await own_node.rpc.get_token_account_balance(account)).value.amount == "42"
    error = await own_node.error("sendTransaction", wire(landed), PREFLIGHT)
    assert error["data"]["err"] == "AlreadyProcessed"
    await own_node.result("sendTransaction", wire(held), BLIND)
    status = (await own_node.rpc.get_signature_statuses([held.signatures[0]])).value[0]
    assert status is not None
    owned = await own_node.result(
        "getTokenAccountsByOwner", str(payer.pubkey()), {"mint": str(USDC.mint)}, {"encoding": "base64"}
    )
    assert [each["pubkey"] for each in owned["value"]] == [str(accounts[0])]


async def test_a_closed_account_stays_closed_after_a_restart(own_node: ChainNode) -> None:
    wallets = Wallets(own_node.rpc)
    payer = await wallets.rich()
    empty = await wallets.build([pay_sol(payer.pubkey(), Keypair().pubkey(), 10 * SOL - 5_000)], payer)
    await own_node.result("sendTransaction", wire(empty), PREFLIGHT)
    own_node.stop()
    await own_node.start()
    assert (await own_node.result("getAccountInfo", str(payer.pubkey())))["value"] is None


async def test_sigterm_ends_the_process_in_order(own_node: ChainNode) -> None:
    assert own_node.stop() == 0


async def test_one_directory_has_one_chain(own_node: ChainNode, tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        Store(tmp_path / "chain.db")
