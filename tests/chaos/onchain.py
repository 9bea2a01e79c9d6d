"""The auditor's own reading of the chain, over plain JSON-RPC: what left each account, by balances before and after.

What must not live here: anything of autopay, and any other client of the chain. It must not share a mistake.
"""

import base64
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx

PAGE = 1_000
_AMOUNT, _DELEGATED = slice(64, 72), slice(121, 129)  # of a token account's data, little-endian u64


class RpcError(Exception):
    """The node answers with an error."""


@dataclass(frozen=True)
class Debit:
    """A successful transaction after which an account holds less than before; `signers` by address."""

    account: str
    signature: str
    slot: int
    memo: str | None
    amount_atomic: int
    mint: str
    signers: frozenset[str]


@dataclass(frozen=True)
class Holding:
    """What a token account holds, and what its delegate may still take."""

    amount_atomic: int
    delegated_atomic: int


class ChainReader:
    """Asks one node, at `confirmed`."""

    def __init__(self, http: httpx.AsyncClient, rpc_url: str) -> None:
        self._http = http
        self._url = rpc_url

    async def call(self, method: str, *params: object) -> Any:
        """One call; the result."""
        question = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = (await self._http.post(self._url, json=question)).raise_for_status().json()
        if "error" in answer:
            raise RpcError(f"{method}: {answer['error']}")
        return answer["result"]

    async def finalized_height(self) -> int:
        """Height of the newest finalized block: bytes whose last valid height is below it are worth nothing."""
        return int(await self.call("getBlockHeight", {"commitment": "finalized"}))

    async def debits(self, account: str) -> list[Debit]:
        """Everything that ever left the account, newest first."""
        found = []
        async for entry in self._history(account):
            if entry["err"] is None:
                debit = await self._debit(account, entry)
                if debit is not None:
                    found.append(debit)
        return found

    async def holding(self, account: str) -> Holding:
        """The account now."""
        found = await self.call("getAccountInfo", account, {"commitment": "confirmed", "encoding": "base64"})
        data = base64.b64decode(found["value"]["data"][0])
        return Holding(int.from_bytes(data[_AMOUNT], "little"), int.from_bytes(data[_DELEGATED], "little"))

    async def _history(self, account: str) -> AsyncIterator[dict[str, Any]]:
        before: dict[str, str] = {}
        while True:
            options = {"commitment": "confirmed", "limit": PAGE, **before}
            page = await self.call("getSignaturesForAddress", account, options)
            for entry in page:
                yield entry
            if len(page) < PAGE:
                return
            before = {"before": page[-1]["signature"]}

    async def _debit(self, account: str, entry: dict[str, Any]) -> Debit | None:
        options = {"commitment": "confirmed", "encoding": "json", "maxSupportedTransactionVersion": 0}
        found = await self.call("getTransaction", entry["signature"], options)
        message, meta = found["transaction"]["message"], found["meta"]
        keys = message["accountKeys"]
        before, mint = _held(meta["preTokenBalances"], keys, account)
        after, mint_after = _held(meta["postTokenBalances"], keys, account)
        if meta["err"] is not None or after >= before:
            return None
        return Debit(
            account=account,
            signature=entry["signature"],
            slot=found["slot"],
            memo=_bare(entry["memo"]),
            amount_atomic=before - after,
            mint=mint or mint_after,
            signers=frozenset(keys[: message["header"]["numRequiredSignatures"]]),
        )


def _held(balances: list[dict[str, Any]], keys: list[str], account: str) -> tuple[int, str]:
    for each in balances:
        if keys[each["accountIndex"]] == account:
            return int(each["uiTokenAmount"]["amount"]), str(each["mint"])
    return 0, ""


def _bare(memo: str | None) -> str | None:
    """`[length] text`, as a node shows a memo, without its length."""
    return None if memo is None else re.sub(r"^\[\d+\] ", "", memo)
