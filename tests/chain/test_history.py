"""What the ledger says of transactions that landed: statuses, signatures by address, memos, contents."""

import pytest
from solana.rpc.async_api import AsyncClient
from solana.rpc.commitment import Confirmed, Finalized, Processed
from solders.keypair import Keypair
from solders.message import Message
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from tests.chain.node import ChainNode, eventually
from tests.chain.wallet import AT_TIP, SOL, Wallets, memo, pay_sol

CONFIRMED = {"commitment": "confirmed"}


@pytest.fixture
async def payer(wallets: Wallets) -> Keypair:
    return await wallets.rich()


async def test_a_transaction_rises_from_processed_to_finalized(
    standing_node: ChainNode, wallets: Wallets, payer: Keypair
) -> None:
    signature = str(await wallets.send([], payer))
    seen: dict[str, list[int | None]] = {}

    async def final() -> bool:
        status = (await standing_node.result("getSignatureStatuses", [signature]))["value"][0]
        seen.setdefault(status["confirmationStatus"], []).append(status["confirmations"])
        return bool(status["confirmationStatus"] == "finalized")

    assert not await final()
    await standing_node.weather()
    await eventually(final)
    assert list(seen) == ["processed", "confirmed", "finalized"]
    assert seen["processed"][0] == 0
    counted = [count for count in seen["confirmed"] if count is not None]
    assert counted == sorted(counted)
    assert 2 <= counted[-1] < 32
    assert seen["finalized"] == [None]


async def test_an_old_status_is_found_only_by_searching(node: ChainNode, wallets: Wallets, payer: Keypair) -> None:
    signature = str(await wallets.send([], payer))
    start = await node.result("getSlot", {"commitment": "processed"})

    async def old() -> bool:
        return bool(await node.result("getSlot", {"commitment": "processed"}) > start + 301)

    await eventually(old)
    assert (await node.result("getSignatureStatuses", [signature]))["value"] == [None]
    found = await node.result("getSignatureStatuses", [signature], {"searchTransactionHistory": True})
    assert found["value"][0]["confirmationStatus"] == "finalized"


async def test_unknown_signatures_have_no_status(node: ChainNode, rpc: AsyncClient) -> None:
    nothing = [Signature.new_unique(), Signature.new_unique()]
    assert (await rpc.get_signature_statuses(nothing, search_transaction_history=True)).value == [None, None]
    assert (await rpc.get_transaction(nothing[0])).value is None
    too_many = [str(nothing[0])] * 257
    assert (await node.error("getSignatureStatuses", too_many))["code"] == -32602


async def test_every_address_of_a_transaction_is_indexed(node: ChainNode, wallets: Wallets, payer: Keypair) -> None:
    receiver = Keypair().pubkey()
    transaction = await wallets.build([pay_sol(payer.pubkey(), receiver, SOL)], payer)
    signature = (await wallets.rpc.send_raw_transaction(bytes(transaction), AT_TIP)).value
    await wallets.wait(signature)
    for key in transaction.message.account_keys:
        newest = await node.result("getSignaturesForAddress", str(key), CONFIRMED)
        assert str(signature) in {each["signature"] for each in newest}
    only = await node.result("getSignaturesForAddress", str(receiver), CONFIRMED)
    assert [each["memo"] for each in only] == [None]


async def test_a_transaction_appears_at_its_commitment(
    rpc: AsyncClient, standing_node: ChainNode, wallets: Wallets
) -> None:
    wallet = Keypair().pubkey()
    signature = (await rpc.request_airdrop(wallet, SOL)).value
    for commitment in (Confirmed, Finalized):
        assert not (await rpc.get_signatures_for_address(wallet, commitment=commitment)).value
        assert (await rpc.get_transaction(signature, "base64", commitment, 0)).value is None
    await standing_node.weather()
    for commitment in (Confirmed, Finalized):
        await wallets.wait(signature, commitment)
        found = (await rpc.get_signatures_for_address(wallet, commitment=commitment)).value
        assert found[0].signature == signature
        assert (await rpc.get_transaction(signature, "base64", commitment, 0)).value is not None
    error = await standing_node.error("getSignaturesForAddress", str(wallet), {"commitment": "processed"})
    assert error["code"] == -32602


async def test_signatures_are_paged_newest_first(rpc: AsyncClient, node: ChainNode, wallets: Wallets) -> None:
    payer = await wallets.rich()
    sent = [await wallets.send([], payer) for _ in range(5)]
    await wallets.wait(sent[-1])
    address = payer.pubkey()

    async def page(**options: object) -> list[Signature]:
        found = await rpc.get_signatures_for_address(address, commitment=Confirmed, **options)  # type: ignore[arg-type]
        return [each.signature for each in found.value]

    everything = await page()
    assert everything[:5] == sent[::-1]
    assert len(everything) == 6  # the airdrop is the oldest
    assert await page(limit=2) == [sent[4], sent[3]]
    assert await page(before=sent[3], limit=2) == [sent[2], sent[1]]
    assert await page(before=sent[4], until=sent[1]) == [sent[3], sent[2]]
    assert await page(until=sent[4]) == []
    assert await page(before=Signature.new_unique()) == []
    assert await page(until=Signature.new_unique()) == everything
    for limit in (0, 1_001):
        assert (await node.error("getSignaturesForAddress", str(address), {"limit": limit}))["code"] == -32602


@pytest.mark.parametrize(
    ("texts", "shown"),
    [
        ([b"hello"], "[5] hello"),
        (["grüße".encode()], "[7] grüße"),
        ([b"one", b"two"], "[3] one; [3] two"),
        ([], None),
    ],
)
async def test_a_memo_is_shown_with_its_length(
    node: ChainNode, wallets: Wallets, payer: Keypair, texts: list[bytes], shown: str | None
) -> None:
    instructions = [memo(text) for text in texts] or [pay_sol(payer.pubkey(), payer.pubkey(), 1)]
    transaction = await wallets.build(instructions, payer)
    signature = (await wallets.rpc.send_raw_transaction(bytes(transaction), AT_TIP)).value
    await wallets.wait(signature)
    newest = await node.result("getSignaturesForAddress", str(payer.pubkey()), {**CONFIRMED, "limit": 1})
    assert newest[0]["memo"] == shown
    assert newest[0]["confirmationStatus"] == "confirmed"
    assert newest[0]["blockTime"] > 1_700_000_000


async def test_a_versioned_transaction_needs_a_client_that_reads_it(
    node: ChainNode, wallets: Wallets, payer: Keypair
) -> None:
    signature = await wallets.send([], payer)
    await wallets.wait(signature)
    error = await node.error("getTransaction", str(signature), CONFIRMED)
    assert (error["code"], '"maxSupportedTransactionVersion": 0' in error["message"]) == (-32015, True)
    found = await node.result("getTransaction", str(signature), {**CONFIRMED, "maxSupportedTransactionVersion": 0})
    assert found["version"] == 0
    assert found["transaction"]["message"]["addressTableLookups"] == []
    assert (await node.error("getTransaction", str(signature), {"commitment": "processed"}))["code"] == -32602


async def test_a_legacy_transaction_can_be_read_by_everybody(node: ChainNode, wallets: Wallets, payer: Keypair) -> None:
    message = Message.new_with_blockhash([memo("legacy")], payer.pubkey(), await wallets.blockhash())
    legacy = VersionedTransaction(message, [payer])
    signature = (await wallets.rpc.send_raw_transaction(bytes(legacy), AT_TIP)).value
    await wallets.wait(signature)
    found = await node.result("getTransaction", str(signature), CONFIRMED)
    assert "version" not in found
    assert found["transaction"]["message"]["accountKeys"] == [str(key) for key in message.account_keys]
    found = await node.result("getTransaction", str(signature), {**CONFIRMED, "maxSupportedTransactionVersion": 0})
    assert found["version"] == "legacy"
    await wallets.wait(signature, "finalized")
    assert (await node.result("getTransaction", str(signature), "base58"))["transaction"][1] == "base58"


@pytest.mark.parametrize("encoding", ["json", "jsonParsed", "base58", "base64"])
async def test_solana_py_reads_every_encoding(
    rpc: AsyncClient, wallets: Wallets, payer: Keypair, encoding: str
) -> None:
    signature = await wallets.send([pay_sol(payer.pubkey(), Keypair().pubkey(), SOL)], payer)
    await wallets.wait(signature)
    found = (await rpc.get_transaction(signature, encoding, Confirmed, 0)).value
    assert found is not None
    meta = found.transaction.meta
    assert meta is not None
    assert (meta.err, meta.fee, meta.inner_instructions) == (None, 5_000, [])
    assert meta.log_messages
    assert meta.compute_units_consumed


async def test_transactions_are_counted(rpc: AsyncClient, wallets: Wallets, payer: Keypair) -> None:
    before = (await rpc.get_transaction_count(Processed)).value
    await wallets.send([], payer)
    assert (await rpc.get_transaction_count(Processed)).value == before + 1
