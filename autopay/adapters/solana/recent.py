"""What a payment is signed with, read from the chain at most a few seconds ago and shared by all payments of a worker.

Nothing here can overspend: the ledger reserves against its own limits, and the chain has the last word on balance and
allowance. A reading that is a little old costs at most a payment that does not land. What speaks against a payment is
read anew before it is refused (`activities/sign.py`).

| fact | at most this old | what an older one does |
|---|---|---|
| blockhash | 5 slots (2 s) | the payment has that much less of its 150 blocks (60 s) to land |
| the session's account | 5 slots | a payment that does not land; a restore without a fence is noticed that much later |
| its newest signature | 5 slots | verifying looks that much further back |
| the payee's account | 5 slots | a payment that does not land |
| mint: program, decimals, fee, hook, pause | 150 slots | a payment that does not land, or whose fee the payee bears |
"""

import time
from collections.abc import Awaitable, Callable, Hashable
from typing import TypeVar

from autopay.adapters.recent import Recent
from autopay.domain.payment.chain import Blockhash, MintFacts, TokenAccount
from autopay.domain.payment.ports import Chain

T = TypeVar("T")

AGE_SLOTS = 5
MINT_AGE_SLOTS = 150


class RecentFacts:
    """Implements the port `SigningFacts`.

    Args:
        chain: the node.
        slot_ms: the length of its slots.
        clock: seconds that only go forward.
    """

    def __init__(self, chain: Chain, slot_ms: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._chain = chain
        self._slot_s = slot_ms / 1000
        self._readings = Recent(clock)

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
        return await self._readings.get(what, age_slots * self._slot_s, read)
