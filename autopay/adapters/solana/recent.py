"""What a payment is signed with, read from the chain at most a few seconds ago and shared by all payments of a worker.

Nothing here can overspend: the ledger reserves against its own limits, and the chain has the last word on balance and
allowance. A reading that is a little old costs at most a payment that does not land. What speaks against a payment is
read anew before it is refused (`activities/sign.py`).

| fact | at most this old | what an older one does |
|---|---|---|
| blockhash | 5 slots (2 s) | the payment has that much less of its 150 blocks (60 s) to land |
| the session's account | 5 slots | a payment that does not land; an unfenced restore is found that much later |
| its newest signature | 5 slots | verifying looks that much further back |
| the payee's account | 5 slots | a payment that does not land |
| mint: program, decimals, fee, hook, pause | 150 slots | a payment that does not land, or whose fee the payee bears |
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from contextvars import Context
from dataclasses import dataclass
from typing import Any, TypeVar

from autopay.domain.payment.chain import Blockhash, MintFacts, TokenAccount
from autopay.domain.payment.ports import Chain

T = TypeVar("T")

AGE_SLOTS = 5
MINT_AGE_SLOTS = 150
MAX_KEPT = 1_000
"""Readings that are kept; the one that was begun longest ago goes first."""


@dataclass(frozen=True)
class _Reading:
    """A question that was asked at `began`, and its answer or the wait for it."""

    began: float
    answer: asyncio.Task[Any]


class RecentFacts:
    """Implements the port `SigningFacts`. Who asks while the same is being read waits for that reading.

    Args:
        chain: the node.
        slot_ms: the length of its slots.
        clock: seconds that only go forward.
    """

    def __init__(self, chain: Chain, slot_ms: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._chain = chain
        self._slot_s = slot_ms / 1000
        self._clock = clock
        self._readings: dict[Hashable, _Reading] = {}

    async def mint_facts(self, mint: str) -> MintFacts | None:
        """See the port."""
        return await self._recent(("mint", mint), MINT_AGE_SLOTS, lambda: self._chain.mint_facts(mint))

    async def token_account(self, address: str) -> TokenAccount | None:
        """See the port."""
        return await self._recent(("account", address), AGE_SLOTS, lambda: self._chain.token_account(address))

    async def newest_signature(self, account: str) -> str | None:
        """See the port."""
        return await self._recent(("signature", account), AGE_SLOTS, lambda: self._chain.newest_signature(account))

    async def latest_blockhash(self) -> Blockhash:
        """See the port."""
        return await self._recent("blockhash", AGE_SLOTS, self._chain.latest_blockhash)

    async def _recent(self, what: Hashable, age_slots: int, read: Callable[[], Awaitable[T]]) -> T:
        """The last reading, or a new one when that began too long ago. All who wait are told of a fault."""
        reading = self._readings.get(what)
        if reading is None or self._clock() - reading.began > age_slots * self._slot_s:
            reading = self._begin(what, read)
        answer: T = await asyncio.shield(reading.answer)
        return answer

    def _begin(self, what: Hashable, read: Callable[[], Awaitable[T]]) -> _Reading:
        async def ask() -> T:
            return await read()

        # In a context of its own: it goes on for the others when the payment that began it is canceled.
        answer = asyncio.get_running_loop().create_task(ask(), context=Context())
        answer.add_done_callback(lambda ended: self._forget_a_fault(what, ended))
        reading = _Reading(self._clock(), answer)
        self._readings.pop(what, None)
        self._readings[what] = reading
        while len(self._readings) > MAX_KEPT:
            del self._readings[next(iter(self._readings))]
        return reading

    def _forget_a_fault(self, what: Hashable, ended: asyncio.Task[Any]) -> None:
        if not ended.cancelled() and ended.exception() is None:
            return
        reading = self._readings.get(what)
        if reading is not None and reading.answer is ended:
            del self._readings[what]
