"""What is refused, what is dropped in silence, and that nothing executes twice."""

import base64

import base58
import pytest
from solana.rpc.async_api import AsyncClient
from solana.rpc.commitment import Processed
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import Message
from solders.signature import Signature
from solders.system_program import ID as SYSTEM_PROGRAM
from solders.transaction import VersionedTransaction

from tests.chain.node import ChainNode, eventually
from tests.chain.wallet import NO_PREFLIGHT, SOL, Wallets, build, memo, pay_sol

PREFLIGHT = {"encoding": "base64", "preflightCommitment": "processed"}
BLIND = {"encoding": "base64", "skipPreflight": True}
SIMULATE = {"encoding": "base64", "commitment": "processed"}


def wire(transaction: VersionedTransaction) -> str:
    return base64.b64encode(bytes(transaction)).decode()


def unsigned(transaction: VersionedTransaction) -> VersionedTransaction:
    signatures = [Signature.default()] * len(transaction.signatures)
    return VersionedTransaction.populate(transaction.message, signatures)


@pytest.fixture
async def payer(wallets: Wallets) -> Keypair:
    return await wallets.rich()


@pytest.fixture
async def payment(wallets: Wallets, payer: Keypair) -> VersionedTransaction:
    """One SOL to somebody new."""
    return await wallets.build([pay_sol(payer.pubkey(), Keypair().pubkey(), SOL)], payer)


async def balance(node: ChainNode, key: Keypair) -> int:
    answer = await node.result("getBalance", str(key.pubkey()), {"commitment": "processed"})
    return int(answer["value"])


async def test_base58_and_base64_are_both_understood(node: ChainNode, payment: VersionedTransaction) -> None:
    sent = await node.result(
        "sendTransaction", base58.b58encode(bytes(payment)).decode(), {"preflightCommitment": "processed"}
    )
    assert sent == str(payment.signatures[0])
    assert await node.result("sendTransaction", wire(payment), BLIND) == sent


async def test_a_double_send_executes_once(node: ChainNode, payer: Keypair, payment: VersionedTransaction) -> None:
    first = await node.result("sendTransaction", wire(payment), PREFLIGHT)
    left = await balance(node, payer)
    assert left == 9 * SOL - 5_000
    assert await node.result("sendTransaction", wire(payment), BLIND) == first
    error = await node.error("sendTransaction", wire(payment), PREFLIGHT)
    assert error["code"] == -32002
    assert error["message"] == "Transaction simulation failed: This transaction has already been processed"
    assert error["data"]["err"] == "AlreadyProcessed"
    assert await balance(node, payer) == left


async def test_what_landed_simulates_as_already_processed(node: ChainNode, payment: VersionedTransaction) -> None:
    await node.result("sendTransaction", wire(payment), PREFLIGHT)
    answer = await node.result("simulateTransaction", wire(unsigned(payment)), SIMULATE)
    assert answer["value"]["err"] == "AlreadyProcessed"


async def test_a_missing_signature_is_refused(
    node: ChainNode, wallets: Wallets, payer: Keypair, payment: VersionedTransaction
) -> None:
    had = await balance(node, payer)
    error = await node.error("sendTransaction", wire(unsigned(payment)), PREFLIGHT)
    assert (error["code"], error["message"]) == (-32003, "Transaction signature verification failure")
    signature = await node.result("sendTransaction", wire(unsigned(payment)), BLIND)
    statuses = await node.result("getSignatureStatuses", [signature], {"searchTransactionHistory": True})
    assert statuses["value"] == [None]
    assert await balance(node, payer) == had


async def test_an_unknown_blockhash_is_refused_or_dropped(node: ChainNode, payer: Keypair) -> None:
    payment = build(Hash.new_unique(), [pay_sol(payer.pubkey(), Keypair().pubkey(), SOL)], payer)
    error = await node.error("sendTransaction", wire(payment), PREFLIGHT)
    assert (error["code"], error["data"]["err"]) == (-32002, "BlockhashNotFound")
    assert error["message"] == "Transaction simulation failed: Blockhash not found"
    signature = await node.result("sendTransaction", wire(payment), BLIND)
    assert (await node.result("getSignatureStatuses", [signature]))["value"] == [None]


async def test_a_blockhash_expires(node: ChainNode, wallets: Wallets, payer: Keypair) -> None:
    newest = await node.result("getLatestBlockhash", {"commitment": "processed"})
    value = newest["value"]
    blockhash = Hash.from_string(value["blockhash"])
    payment = build(blockhash, [pay_sol(payer.pubkey(), Keypair().pubkey(), SOL)], payer)

    async def height_is_past() -> bool:
        height = await node.result("getBlockHeight", {"commitment": "processed"})
        return bool(height > value["lastValidBlockHeight"])

    await eventually(height_is_past)
    still = await node.result("isBlockhashValid", value["blockhash"], {"commitment": "processed"})
    assert still["value"] is False
    assert (await node.error("sendTransaction", wire(payment), PREFLIGHT))["data"]["err"] == "BlockhashNotFound"
    await node.result("sendTransaction", wire(payment), BLIND)
    assert await balance(node, payer) == 10 * SOL


async def test_preflight_judges_the_blockhash_at_its_own_commitment(
    standing_node: ChainNode, payment: VersionedTransaction
) -> None:
    """A blockhash read at `processed` is not known at `finalized`, the default: a common mistake of clients."""
    error = await standing_node.error("sendTransaction", wire(payment), {"encoding": "base64"})
    assert error["data"]["err"] == "BlockhashNotFound"


async def test_a_failure_in_preflight_costs_nothing(node: ChainNode, wallets: Wallets, payer: Keypair) -> None:
    payment = await wallets.build([pay_sol(payer.pubkey(), Keypair().pubkey(), 11 * SOL)], payer)
    error = await node.error("sendTransaction", wire(payment), PREFLIGHT)
    assert error["code"] == -32002
    assert error["message"] == (
        "Transaction simulation failed: Error processing Instruction 0: custom program error: 0x1"
    )
    assert error["data"]["err"] == {"InstructionError": [0, {"Custom": 1}]}
    assert error["data"]["logs"][-1].endswith("custom program error: 0x1")
    assert await balance(node, payer) == 10 * SOL


async def test_a_failure_without_preflight_lands_and_costs_the_fee(
    node: ChainNode, rpc: AsyncClient, wallets: Wallets, payer: Keypair
) -> None:
    payment = await wallets.build([pay_sol(payer.pubkey(), Keypair().pubkey(), 11 * SOL)], payer)
    signature = (await rpc.send_raw_transaction(bytes(payment), NO_PREFLIGHT)).value
    assert await balance(node, payer) == 10 * SOL - 5_000
    await wallets.wait(signature)
    found = await node.result("getTransaction", str(signature), {
        "commitment": "confirmed", "maxSupportedTransactionVersion": 0,
    })  # fmt: skip
    assert found["meta"]["err"] == {"InstructionError": [0, {"Custom": 1}]}
    assert found["meta"]["status"] == {"Err": found["meta"]["err"]}
    listed = await node.result("getSignaturesForAddress", str(payer.pubkey()), {"commitment": "confirmed"})
    assert listed[0]["err"] == found["meta"]["err"]


async def test_a_payer_without_money_does_not_land(node: ChainNode, wallets: Wallets) -> None:
    poor = Keypair()
    payment = await wallets.build([memo("poor")], poor)
    error = await node.error("sendTransaction", wire(payment), PREFLIGHT)
    assert error["data"]["err"] == "AccountNotFound"
    signature = await node.result("sendTransaction", wire(payment), BLIND)
    assert (await node.result("getSignatureStatuses", [signature]))["value"] == [None]


async def test_an_account_cannot_be_left_below_the_rent_minimum(
    node: ChainNode, wallets: Wallets, payer: Keypair
) -> None:
    payment = await wallets.build([pay_sol(payer.pubkey(), Keypair().pubkey(), 1)], payer)
    error = await node.error("sendTransaction", wire(payment), PREFLIGHT)
    assert error["data"]["err"] == {"InsufficientFundsForRent": {"account_index": 1}}
    await node.result("sendTransaction", wire(payment), BLIND)
    assert await balance(node, payer) == 10 * SOL - 5_000


async def test_a_program_that_is_not_there_costs_the_fee(node: ChainNode, wallets: Wallets, payer: Keypair) -> None:
    call = await wallets.build([Instruction(Keypair().pubkey(), b"", [])], payer)
    signature = await node.result("sendTransaction", wire(call), BLIND)
    status = (await node.result("getSignatureStatuses", [signature]))["value"][0]
    assert status["err"] == "InvalidProgramForExecution"
    assert await balance(node, payer) == 10 * SOL - 5_000


async def test_an_account_may_be_emptied(node: ChainNode, wallets: Wallets, payer: Keypair) -> None:
    payment = await wallets.build([pay_sol(payer.pubkey(), Keypair().pubkey(), 10 * SOL - 5_000)], payer)
    await node.result("sendTransaction", wire(payment), PREFLIGHT)
    assert (await node.result("getAccountInfo", str(payer.pubkey()), {"commitment": "processed"}))["value"] is None


async def test_a_simulation_changes_nothing(node: ChainNode, payer: Keypair, payment: VersionedTransaction) -> None:
    receiver = str(payment.message.account_keys[1])
    asked = {**SIMULATE, "accounts": {"addresses": [receiver], "encoding": "base64"}, "innerInstructions": True}
    answer = (await node.result("simulateTransaction", wire(unsigned(payment)), asked))["value"]
    assert (answer["err"], answer["accounts"][0]["lamports"]) == (None, SOL)
    assert answer["innerInstructions"] == []
    assert await balance(node, payer) == 10 * SOL


async def test_a_simulation_can_be_given_a_fresh_blockhash(node: ChainNode, payer: Keypair) -> None:
    old = build(Hash.new_unique(), [pay_sol(payer.pubkey(), Keypair().pubkey(), SOL)], payer)
    plain = (await node.result("simulateTransaction", wire(old), SIMULATE))["value"]
    assert (plain["err"], plain["logs"], plain["unitsConsumed"]) == ("BlockhashNotFound", [], 0)
    fresh = {**SIMULATE, "replaceRecentBlockhash": True}
    answer = (await node.result("simulateTransaction", wire(old), fresh))["value"]
    assert answer["err"] is None
    assert answer["replacementBlockhash"]["lastValidBlockHeight"] > 0
    legacy = VersionedTransaction(Message.new_with_blockhash([memo("legacy")], payer.pubkey(), Hash.default()), [payer])
    assert (await node.result("simulateTransaction", wire(legacy), fresh))["value"]["err"] is None


async def test_a_simulation_verifies_signatures_when_asked(node: ChainNode, payment: VersionedTransaction) -> None:
    checked = {**SIMULATE, "sigVerify": True}
    assert (await node.result("simulateTransaction", wire(payment), checked))["value"]["err"] is None
    assert (await node.error("simulateTransaction", wire(unsigned(payment)), checked))["code"] == -32003
    both = {**checked, "replaceRecentBlockhash": True}
    assert (await node.error("simulateTransaction", wire(payment), both))["code"] == -32602


async def test_a_failed_simulation_tells_why(
    node: ChainNode, rpc: AsyncClient, wallets: Wallets, payer: Keypair
) -> None:
    payment = await wallets.build([pay_sol(payer.pubkey(), Keypair().pubkey(), 11 * SOL)], payer)
    wanted = {"addresses": [str(SYSTEM_PROGRAM)], "encoding": "base64"}
    answer = (await node.result("simulateTransaction", wire(payment), {**SIMULATE, "accounts": wanted}))["value"]
    assert answer["err"] == {"InstructionError": [0, {"Custom": 1}]}
    assert answer["accounts"] == [None]
    assert (await rpc.simulate_transaction(payment, commitment=Processed)).value.err is not None


async def test_garbage_is_no_transaction(node: ChainNode, payment: VersionedTransaction) -> None:
    short = VersionedTransaction.populate(payment.message, [])
    for text, encoding in (("AAA", "base64"), ("AAAA", "base64"), ("0O", "base58"), (wire(short), "base64")):
        error = await node.error("sendTransaction", text, {"encoding": encoding})
        assert error["code"] == -32602, text
    large = base64.b64encode(bytes(1_233)).decode()
    assert "too large" in (await node.error("sendTransaction", large, {"encoding": "base64"}))["message"]


async def test_a_preflight_may_ask_for_a_slot(node: ChainNode, payment: VersionedTransaction) -> None:
    far = {**PREFLIGHT, "minContextSlot": 500_000_000}
    assert (await node.error("sendTransaction", wire(payment), far))["code"] == -32016
    assert (await node.error("simulateTransaction", wire(payment), {**SIMULATE, "minContextSlot": 500_000_000}))[
        "code"
    ] == -32016
