"""A Solana RPC node with a quirk: a real HTTP server that answers honestly, or as providers and proxies do at times."""

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.transaction import VersionedTransaction
from spl.memo.constants import MEMO_PROGRAM_ID
from spl.memo.instructions import create_memo
from spl.memo.models import MemoParams
from spl.token.constants import TOKEN_PROGRAM_ID

from localnet.chain.genesis import GENESIS_HASH, USDC_MINT

KEY = "4f9d2c71-secret-api-key"
"""Part of the node's URL; must never be printed."""

OWNER, SLOT = Keypair(), 1_000
TOO_LARGE = 18_446_744_073_709_552_000
"""2^64 - 1 as a program of JavaScript writes it."""

_MEMO = create_memo(MemoParams(program_id=MEMO_PROGRAM_ID, signer=OWNER.pubkey(), message=b"hello"))
TRANSACTION = VersionedTransaction(MessageV0.try_compile(OWNER.pubkey(), [_MEMO], [], Hash.default()), [OWNER])
SIGNATURE = str(TRANSACTION.signatures[0])


def _account(data: bytes, program: object = TOKEN_PROGRAM_ID) -> dict[str, Any]:
    return {
        "data": [b64encode(data).decode(), "base64"],
        "executable": False,
        "lamports": 2_039_280,
        "owner": str(program),
        "rentEpoch": 2**64 - 1,
        "space": len(data),
    }


MINT_DATA = bytes(44) + bytes([6, 1]) + bytes(36)
TOKEN_DATA = bytes(USDC_MINT) + bytes(OWNER.pubkey()) + (7).to_bytes(8, "little") + bytes(36) + bytes([1]) + bytes(56)


def _as_of(value: Any) -> dict[str, Any]:
    return {"context": {"slot": SLOT, "apiVersion": "2.3.0"}, "value": value}


HONEST: dict[str, Any] = {
    "getGenesisHash": GENESIS_HASH,
    "getLatestBlockhash": _as_of({"blockhash": GENESIS_HASH, "lastValidBlockHeight": 1_150}),
    "getEpochInfo": {"absoluteSlot": SLOT, "blockHeight": 900, "epoch": 2, "slotIndex": 5, "slotsInEpoch": 432_000},
    "getFirstAvailableBlock": 3,
    "getSignaturesForAddress": [
        {"signature": SIGNATURE, "slot": 990, "err": None, "memo": "[5] hello", "blockTime": 1_700_000_000}
    ],
    "getSignatureStatuses": _as_of(
        [{"slot": 990, "confirmations": None, "err": None, "confirmationStatus": "finalized", "status": {"Ok": None}}]
    ),
    "getTransaction": {
        "slot": 990,
        "blockTime": 1_700_000_000,
        "transaction": [b64encode(bytes(TRANSACTION)).decode(), "base64"],
        "meta": {"err": None, "fee": 5_000, "preBalances": [2**64 - 1], "status": {"Ok": None}},
        "version": 0,
    },
    "getTokenAccountsByOwner": _as_of([{"pubkey": str(Keypair().pubkey()), "account": _account(TOKEN_DATA)}]),
    "getMinimumBalanceForRentExemption": 2_039_280,
    "getBlockHeight": 900,
    "getBalance": _as_of(5),
    "getBlockTime": 1_700_000_000,
    "getVersion": {"solana-core": "2.3.0", "feature-set": 1},
    "getHealth": "ok",
    "sendTransaction": SIGNATURE,
}


def honest(method: str, params: list[Any]) -> Any:
    """The result that a proper node would give."""
    if method == "getAccountInfo":
        return _as_of(_account(MINT_DATA if params[0] == str(USDC_MINT) else TOKEN_DATA))
    return HONEST[method]


Quirk = Callable[[dict[str, Any], Any], bytes]
"""The whole HTTP answer for a question and its honest result; `b""` closes the connection without a word."""


def http(body: bytes | str, status: str = "200 OK", *headers: str) -> bytes:
    """An HTTP answer."""
    content = body.encode() if isinstance(body, str) else body
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", "Connection: close", *headers]
    return "\r\n".join([*head, "", ""]).encode() + content


def proper(question: dict[str, Any], result: Any) -> bytes:
    """The honest answer."""
    return http(json.dumps({"jsonrpc": "2.0", "id": question["id"], "result": result}))


class OddNode:
    """Answers with its quirk every question but that for the genesis hash, and every `period`-th one of them.

    Args:
        upstream: the node that knows the honest results; without one they are fixed.
    """

    def __init__(self, quirk: Quirk, *, period: int = 1, spares_genesis: bool = True, upstream: str = "") -> None:
        self.url = ""
        self.answered = 0
        self._quirk, self._period, self._spares_genesis, self._upstream = quirk, period, spares_genesis, upstream

    @asynccontextmanager
    async def open(self) -> AsyncIterator["OddNode"]:
        """Serve on loopback."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v2/{KEY}?api-key={KEY}"
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
            question = json.loads(await reader.readexactly(length))
            writer.write(await self._answer(question))
            await writer.drain()
        writer.close()

    async def _answer(self, question: dict[str, Any]) -> bytes:
        if self._upstream:
            async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
                result = (await client.post(self._upstream, json=question)).json()["result"]
        else:
            result = honest(question["method"], question["params"])
        if question["method"] == "getGenesisHash" and self._spares_genesis:
            return proper(question, result)
        self.answered += 1
        return proper(question, result) if self.answered % self._period else self._quirk(question, result)
