"""What nodes write, read by the product's own client: accounts as JSON, and answers that are none (`tests/field`)."""

import struct
from base64 import b64encode
from collections.abc import Awaitable, Callable
from copy import copy
from functools import cache
from typing import Any

import httpx
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.token import ID as TOKEN

from autopay.adapters.solana.chain import SolanaChain
from autopay.adapters.solana.rpc import NodeRpc
from tests.field.odd_node import TOO_LARGE, Quirk, honest, proper
from tests.field.quirks import QUIRKS
from tests.world.chain import TokenState
from tests.world.shop import MINT, NETWORK

ACCOUNT, SIGNATURE = str(Pubkey.default()), str(Signature.default())
RENT_EPOCH = 2**64 - 1

CALLS: dict[str, Callable[[SolanaChain], Awaitable[object]]] = {
    "genesis_hash": lambda chain: chain.genesis_hash(),
    "latest_blockhash": lambda chain: chain.latest_blockhash(),
    "finalized_tip": lambda chain: chain.finalized_tip(),
    "first_available_slot": lambda chain: chain.first_available_slot(),
    "mint_facts": lambda chain: chain.mint_facts(MINT),
    "token_account": lambda chain: chain.token_account(ACCOUNT),
    "newest_signature": lambda chain: chain.newest_signature(ACCOUNT),
    "history": lambda chain: chain.history(ACCOUNT, until=None, final=True, min_slot=None),
    "transaction": lambda chain: chain.transaction(SIGNATURE),
    "statuses": lambda chain: chain.statuses([SIGNATURE]),
}
"""Each question of the port, to be put to a node that answers it with something else."""


class _WrittenAnswers(NodeRpc):
    """Reads the one answer that it was made for, instead of asking anybody."""

    quirk: Quirk
    result: Any = None

    async def check_network(self) -> None:
        """It is ours."""

    async def _exchange(self, question: dict[str, Any]) -> tuple[int, bytes]:
        result = honest(question["method"], question["params"]) if self.result is None else self.result
        return _received(self.quirk(question, result))


@cache
def _client() -> _WrittenAnswers:
    return _WrittenAnswers("http://127.0.0.1", NETWORK, tries=1)


def node_saying(quirk: Quirk = proper, result: object = None) -> SolanaChain:
    """The product's client of a node that answers every question so; without a `result` with fixed ones."""
    answers = copy(_client())
    answers.quirk, answers.result = quirk, result
    return SolanaChain(answers)


async def odd_answer(method: str, name: str) -> object:
    """What the product makes of that odd answer to a question.

    Raises:
        TransientFault: that it is none, as it should.
    """
    return await CALLS[method](node_saying(QUIRKS[name]))


def account_result(state: TokenState, slot: int, *, rounded: bool) -> dict[str, Any]:
    """The result of getAccountInfo; `rounded` as a node or proxy gives it out whose numbers are JavaScript's."""
    delegate = Pubkey.from_string(state.delegate) if state.delegate else None
    data = struct.pack(
        "<32s32sQI32sBIQQI32s",
        bytes(Pubkey.from_string(state.mint)),
        bytes(Pubkey.from_string(state.owner)),
        state.amount,
        delegate is not None,
        bytes(delegate or Pubkey.default()),
        1,  # initialized
        0,
        0,
        state.delegated,
        0,
        bytes(32),
    )
    account = {
        "data": [b64encode(data).decode(), "base64"],
        "executable": False,
        "lamports": 2_039_280,
        "owner": str(TOKEN),
        "rentEpoch": TOO_LARGE if rounded else RENT_EPOCH,
        "space": len(data),
    }
    return {"context": {"slot": slot, "apiVersion": "2.3.0"}, "value": account}


def _received(answer: bytes) -> tuple[int, bytes]:
    """Status and body of an HTTP answer, or the error of a client that gets no whole one."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 "):
        raise httpx.RemoteProtocolError("no HTTP")
    if b"Content-Encoding" in head:
        raise httpx.DecodingError("no such encoding")
    if b"Content-Length: 500" in head:
        raise httpx.RemoteProtocolError("cut")
    return int(head.split()[1]), body
