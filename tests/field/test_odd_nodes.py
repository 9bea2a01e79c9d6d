"""Nodes that answer what they were not asked for: a transient fault with a name, whatever asks; never a bug, never a
key of the node's URL in a message. What is not used of an answer may be anything."""

import asyncio
import json
import random
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from solders.pubkey import Pubkey
from websockets.asyncio.server import ServerConnection, serve

from autopay.adapters.solana import rpc as rpc_module
from autopay.adapters.solana.account_feed import AccountFeed
from autopay.adapters.solana.account_watch import SolanaAccountWatch
from autopay.adapters.solana.anchoring import AnchorChain
from autopay.adapters.solana.chain import SolanaChain
from autopay.adapters.solana.history import SolanaHistory
from autopay.adapters.solana.owner.owner_transaction import OwnerNode, OwnerRefused, OwnerTooLate, OwnerUnknown
from autopay.adapters.solana.rpc import HttpSettingsWrong, NodeRpc
from autopay.domain.errors import ChainUnavailable, NodeBehind, TransientFault
from autopay.domain.network import Network
from localnet.chain.genesis import USDC_MINT
from tests.field.odd_node import KEY, OWNER, SIGNATURE, TOO_LARGE, TRANSACTION, OddNode, Quirk, honest, http, proper
from tests.field.quirks import QUIRKS, says
from tests.unit.till import Till, certificate

ACCOUNT, MINT = str(OWNER.pubkey()), str(USDC_MINT)

Call = Callable[[NodeRpc], Awaitable[Any]]

CALLS: dict[str, Call] = {
    "genesis_hash": lambda rpc: SolanaChain(rpc).genesis_hash(),
    "latest_blockhash": lambda rpc: SolanaChain(rpc).latest_blockhash(),
    "finalized_tip": lambda rpc: SolanaChain(rpc).finalized_tip(),
    "first_available_slot": lambda rpc: SolanaChain(rpc).first_available_slot(),
    "mint_facts": lambda rpc: SolanaChain(rpc).mint_facts(MINT),
    "token_account": lambda rpc: SolanaChain(rpc).token_account(ACCOUNT, final=True, min_slot=7),
    "newest_signature": lambda rpc: SolanaChain(rpc).newest_signature(ACCOUNT),
    "history": lambda rpc: SolanaChain(rpc).history(ACCOUNT, until=None, final=True, min_slot=7),
    "transaction": lambda rpc: SolanaChain(rpc).transaction(SIGNATURE),
    "statuses": lambda rpc: SolanaChain(rpc).statuses([SIGNATURE]),
    "final_transaction": lambda rpc: SolanaChain(rpc).final_transaction(SIGNATURE),
    "memo": lambda rpc: SolanaHistory(rpc).memo(SIGNATURE),
    "accounts_of": lambda rpc: SolanaHistory(rpc).accounts_of(ACCOUNT, MINT),
    "raw_account": lambda rpc: OwnerNode(rpc).raw_account(OWNER.pubkey()),
    "rent": lambda rpc: OwnerNode(rpc).rent(165),
    "block_height": lambda rpc: OwnerNode(rpc).block_height(),
    "draft": lambda rpc: OwnerNode(rpc).draft(OWNER.pubkey(), [], "grant"),
    "owner's send": lambda rpc: OwnerNode(rpc).send(TRANSACTION, 10_000),
    "anchor's send": lambda rpc: AnchorChain(rpc).send(bytes(TRANSACTION)),
    "lamports": lambda rpc: AnchorChain(rpc).lamports(ACCOUNT),
}
"""Every question that an adapter puts to a node."""


def _is_named(fault: TransientFault) -> None:
    """One short line, by a name that programs act on, and without the key."""
    assert isinstance(fault, ChainUnavailable | NodeBehind | OwnerUnknown)
    text = str(fault)
    assert KEY not in text
    assert text.isprintable()
    assert len(text) < 500


async def _fault(rpc: NodeRpc, call: Call) -> TransientFault:
    with pytest.raises(TransientFault) as caught:
        await call(rpc)
    return caught.value


@pytest.mark.parametrize("quirk", QUIRKS.values(), ids=QUIRKS)
async def test_what_is_not_asked_for_is_a_transient_fault_whatever_asks(quirk: Quirk) -> None:
    async with OddNode(quirk, spares_genesis=False).open() as node, NodeRpc(node.url, Network.DEVNET, tries=1) as rpc:
        _is_named(await _fault(rpc, CALLS["genesis_hash"]))
    async with OddNode(quirk).open() as node, NodeRpc(node.url, Network.DEVNET, tries=1) as rpc:
        for name, call in CALLS.items():
            if name != "genesis_hash" and not _is_an_answer(name, quirk):
                _is_named(await _fault(rpc, call))


def _is_an_answer(call: str, quirk: Quirk) -> bool:
    """A node that says of a transaction that it has none has answered."""
    return quirk is QUIRKS["no result where one is due"] and call == "final_transaction"


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_a_proper_answer_is_one(call: Call) -> None:
    async with OddNode(proper).open() as node, NodeRpc(node.url, Network.DEVNET, tries=1) as rpc:
        assert await call(rpc) is not None or call is CALLS["anchor's send"]


UNUSED: dict[str, Callable[[str], str]] = {
    "rentEpoch rounded beyond 64 bits": lambda text: text.replace(str(2**64 - 1), str(TOO_LARGE)),
    "rentEpoch as a float": lambda text: text.replace(str(2**64 - 1), "1.8446744073709552e+19"),
    "rentEpoch that is missing": lambda text: text.replace(f'"rentEpoch": {2**64 - 1}, ', ""),
    "fields that nobody knows": lambda text: text.replace('"context"', '"extra": [1e999, {}], "context"'),
    "times and versions of other types": lambda text: text.replace("1700000000", '"2023"').replace(
        '"version": 0', '"version": "legacy"'
    ),
    "an error that is null": lambda text: text.replace('"jsonrpc"', '"error": null, "jsonrpc"'),
    "an id that is a text": lambda text: text.replace('"id": ', '"id": "').replace(', "result"', '", "result"', 1),
}


@pytest.mark.parametrize("change", UNUSED.values(), ids=UNUSED)
async def test_what_is_not_used_may_be_anything(change: Callable[[str], str]) -> None:
    def changed(question: dict[str, Any], result: Any) -> bytes:
        return http(change(json.dumps({"jsonrpc": "2.0", "id": question["id"], "result": result})))

    async with OddNode(changed).open() as node, NodeRpc(node.url, Network.DEVNET, tries=1) as rpc:
        for call in CALLS.values():
            await call(rpc)


async def test_random_damage_is_a_transient_fault_or_still_an_answer() -> None:
    seed = random.SystemRandom().randrange(2**32)
    draw = random.Random(seed)  # noqa: S311

    def damaged(question: dict[str, Any], result: Any) -> bytes:
        body = bytearray(json.dumps({"jsonrpc": "2.0", "id": question["id"], "result": result}).encode())
        for _ in range(draw.randrange(1, 4)):
            at = draw.randrange(len(body))
            match draw.randrange(3):
                case 0:
                    body[at] = draw.randrange(256)
                case 1:
                    del body[at : at + draw.randrange(1, 30)]
                case _:
                    body[at:at] = draw.choice([b"null", b"[]", b'"', b"9" * 25, b"-", b"{", b"}", b"1e9"])
        return http(bytes(body))

    async with OddNode(damaged).open() as node, NodeRpc(node.url, Network.DEVNET, tries=1) as rpc:
        for _ in range(10):
            for name, call in CALLS.items():
                if name not in ("genesis_hash", "owner's send"):  # which waits for what it was told was sent
                    try:
                        await call(rpc)
                    except TransientFault as fault:
                        _is_named(fault)
                    except Exception as error:
                        raise AssertionError(f"{name}, seed {seed}") from error


async def test_a_body_that_never_ends_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc_module, "ANSWER_LIMIT_BYTES", 100_000)

    async def endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n[")
        while not writer.is_closing():
            writer.write(b"[]," * 10_000)
            await writer.drain()

    async with Till().open(endless) as till, NodeRpc(f"http://127.0.0.1:{till.port}", Network.DEVNET) as rpc:
        assert "more than 100000 bytes" in str(await _fault(rpc, CALLS["finalized_tip"]))


async def test_a_node_that_says_nothing_is_waited_for_no_longer_than_the_time_out() -> None:
    async def drips(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            writer.write(b"H")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with (
        Till().open(drips) as till,
        NodeRpc(f"http://127.0.0.1:{till.port}", Network.DEVNET, timeout_s=0.1) as rpc,
    ):
        assert "within 0.1 s" in str(await _fault(rpc, CALLS["finalized_tip"]))


async def test_a_node_that_is_not_there_or_shows_a_wrong_certificate(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        async with NodeRpc(f"http://127.0.0.1:{closed.getsockname()[1]}/{KEY}", Network.DEVNET) as rpc:
            _is_named(await _fault(rpc, CALLS["finalized_tip"]))
    tls, _ = certificate(tmp_path, "node.example")
    async with Till().open(b"", tls) as till:
        for scheme in ("https", "http"):
            async with NodeRpc(f"{scheme}://127.0.0.1:{till.port}/?api-key={KEY}", Network.DEVNET) as rpc:
                _is_named(await _fault(rpc, CALLS["finalized_tip"]))


@pytest.mark.parametrize(
    ("name", "value"), [("HTTPS_PROXY", "http://[::1"), ("SSL_CERT_FILE", "/nowhere.pem"), ("ALL_PROXY", "x://y")]
)
async def test_http_settings_of_the_environment_that_cannot_be_are_named(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(HttpSettingsWrong, match="SSL_CERT_FILE"):
        NodeRpc(f"https://node.example/{KEY}", Network.DEVNET)


@pytest.mark.parametrize("answers", [1, 2])
async def test_who_has_the_patience_asks_again(answers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc_module, "FIRST_WAIT_S", 0)
    odd = OddNode(lambda q, r: proper(q, r) if node.answered > answers else http("", "503 Busy"))
    async with odd.open() as node, NodeRpc(node.url, Network.DEVNET, tries=2) as rpc:
        if answers == 1:
            assert await SolanaChain(rpc).first_available_slot() == 3
        else:
            _is_named(await _fault(rpc, CALLS["first_available_slot"]))


async def test_an_answer_about_another_transaction_or_an_older_slot_is_not_believed() -> None:
    other = Pubkey.new_unique()

    def wrong(question: dict[str, Any], result: Any) -> bytes:
        return proper(question, result)

    async with OddNode(wrong).open() as node, NodeRpc(node.url, Network.DEVNET, tries=1) as rpc:
        chain = SolanaChain(rpc)
        with pytest.raises(ChainUnavailable, match="another transaction"):
            await chain.final_transaction(str(OWNER.sign_message(bytes(other))))
        with pytest.raises(NodeBehind):
            await chain.token_account(ACCOUNT, min_slot=10_000)
        with pytest.raises(ChainUnavailable, match="other rows"):
            await chain.history(ACCOUNT, until=SIGNATURE, final=True, min_slot=None)


STATUS = {"slot": 990, "confirmations": 1, "err": None, "confirmationStatus": "confirmed"}


@pytest.mark.parametrize(
    ("row", "state"),
    [
        pytest.param(None, None, id="unknown"),
        pytest.param(STATUS, (990, False, False), id="confirmed"),
        pytest.param(STATUS | {"confirmationStatus": "finalized"}, (990, False, True), id="finalized"),
        pytest.param(STATUS | {"confirmationStatus": "processed"}, None, id="processed-only"),
        pytest.param(STATUS | {"confirmationStatus": None}, (990, False, False), id="of-a-status-that-is-not-told"),
        pytest.param(STATUS | {"err": {"InstructionError": [0, "x"]}}, (990, True, False), id="failed"),
    ],
)
async def test_what_became_of_each_transaction_is_told_in_the_order_of_the_questions(
    row: Any, state: tuple[int, bool, bool] | None
) -> None:
    known = STATUS | {"slot": 7}

    def answers(question: dict[str, Any], result: Any) -> bytes:
        rows = [known, row, known]
        return proper(question, {"context": {"slot": 1_000}, "value": rows[: len(question["params"][0])]})

    async with OddNode(answers).open() as node, NodeRpc(node.url, Network.DEVNET, tries=1) as rpc:
        first, second, _ = await SolanaChain(rpc).statuses([SIGNATURE] * 3)
    assert first is not None
    assert first.slot == 7
    assert (None if second is None else (second.slot, second.failed, second.final)) == state


@pytest.mark.parametrize("answered", [0, 1, 3])
async def test_another_number_of_statuses_than_was_asked_for_is_not_believed(answered: int) -> None:
    def answers(question: dict[str, Any], result: Any) -> bytes:
        if question["method"] != "getSignatureStatuses":
            return proper(question, result)
        return proper(question, {"context": {"slot": 1_000}, "value": [STATUS] * answered})

    async with OddNode(answers).open() as node, NodeRpc(node.url, Network.DEVNET, tries=1) as rpc:
        with pytest.raises(ChainUnavailable, match="another number of answers"):
            await SolanaChain(rpc).statuses([SIGNATURE] * 2)


def _preflight(err: Any) -> Quirk:
    """Refuses to send on; of the transaction's status it knows nothing."""
    error = {"code": -32002, "message": "Transaction simulation failed", "data": {"err": err, "logs": None}}

    def refuses(question: dict[str, Any], result: Any) -> bytes:
        if question["method"] == "getSignatureStatuses":
            return proper(question, {"context": {"slot": 1}, "value": [None]})
        if question["method"] == "sendTransaction":
            return says(error=error)(question, result)
        return proper(question, result)

    return refuses


@pytest.mark.parametrize(
    ("err", "fault"), [("BlockhashNotFound", OwnerTooLate), ({"InstructionError": [0, "x"]}, OwnerRefused)]
)
async def test_a_transaction_that_the_node_refuses_to_send_on_is_told_apart(err: Any, fault: type[Exception]) -> None:
    async with OddNode(_preflight(err)).open() as node, NodeRpc(node.url, Network.DEVNET, tries=1) as rpc:
        with pytest.raises(fault):
            await OwnerNode(rpc).send(TRANSACTION, 10_000)


def _notification(rent_epoch: int) -> str:
    account = honest("getAccountInfo", [ACCOUNT])["value"] | {"rentEpoch": rent_epoch}
    result = {"context": {"slot": 2_000}, "value": account}
    return json.dumps({"method": "accountNotification", "params": {"subscription": 5, "result": result}})


ODD_MESSAGES: dict[str, str | bytes] = {
    "no JSON": "welcome",
    "bytes": b"\xff\x00",
    "a list": "[]",
    "nothing that is known": "{}",
    "another id": '{"id": 99, "result": 5}',
    "an error that is a text": '{"id": 1, "error": "too many"}',
    "a notification without an account": '{"method": "accountNotification", "params": {"subscription": 5}}',
    "a subscription that is a text": '{"id": 1, "result": "5"}',
}


@pytest.mark.parametrize("message", ODD_MESSAGES.values(), ids=ODD_MESSAGES)
async def test_whatever_comes_over_the_websocket_accounts_are_read_all_the_same(message: str | bytes) -> None:
    async def says_it(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send(message)
        await connection.wait_closed()

    async with (
        serve(says_it, "127.0.0.1", 0) as server,
        OddNode(proper).open() as node,
        NodeRpc(node.url, Network.DEVNET) as rpc,
    ):
        port = next(iter(server.sockets)).getsockname()[1]
        watch = SolanaAccountWatch(SolanaChain(rpc), f"ws://127.0.0.1:{port}/?api-key={KEY}", poll_s=0.02)
        assert await watch.changed((ACCOUNT,), 0.3) is False
        await watch.close()
        assert node.answered > 2


async def test_a_notification_whose_unused_number_is_too_large_is_read() -> None:
    async def subscribes(connection: ServerConnection) -> None:
        question = json.loads(await connection.recv())
        await connection.send(json.dumps({"id": question["id"], "result": 5}))
        await connection.send(_notification(TOO_LARGE))
        await connection.wait_closed()

    async with serve(subscribes, "127.0.0.1", 0) as server:
        feed = AccountFeed(f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}")
        with feed.listen([ACCOUNT]) as inbox:
            assert await inbox.get() is None
            change = await inbox.get()
            assert change is not None
            assert (change.address, change.slot) == (ACCOUNT, 2_000)
        await feed.close()
