"""Waits for token accounts to change. Implements the port `AccountWatch`.

Later readings are compared with the first one; accounts are read once more as soon as a subscription has begun, so
that no change is missed between the two. Without a WebSocket, or when the node refuses the subscription, accounts are
read every few seconds. A reading that is older than the last one is ignored.
"""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass

from autopay.adapters.solana.account_feed import AccountChange, AccountFeed, Inbox
from autopay.adapters.solana.chain import read_token_account
from autopay.domain.errors import TransientFault
from autopay.domain.payment.chain import TokenAccount
from autopay.domain.payment.ports import Chain

POLL_S = 3.0
LISTENING_POLL_S = 30.0
"""Between readings of accounts with a subscription: it should report every change, but nodes have lost some."""
REMEMBERED_S = 120.0

Holding = tuple[int, str | None, int]
"""Amount, delegate, and what the delegate may still spend, in base units."""


@dataclass(frozen=True)
class AccountReading:
    """A token account as of a slot; None when there is none."""

    slot: int
    holding: Holding | None


class SolanaAccountWatch:
    """One per worker.

    Args:
        ws_url: the node's WebSocket; "" when it has none.
    """

    def __init__(self, chain: Chain, ws_url: str, poll_s: float = POLL_S) -> None:
        self._chain = chain
        self._feed = AccountFeed(ws_url) if ws_url else None
        self._poll_s = poll_s
        self._remembered: dict[tuple[str, ...], tuple[float, dict[str, AccountReading]]] = {}

    async def close(self) -> None:
        """Close the WebSocket."""
        if self._feed is not None:
            await self._feed.close()

    async def changed(self, accounts: tuple[str, ...], timeout_s: float) -> bool:
        """True as soon as one of these token accounts differs in amount, delegate or allowance; False at the time-out.

        Differs from what it was when this was called, or when the last call of this worker for the same accounts
        ended, if that was at most `REMEMBERED_S` ago: between two calls nothing is missed either.

        Raises:
            ChainUnavailable, NodeBehind, WrongNetwork: the first or the last reading failed.
        """
        known = self._last_readings(accounts)
        try:
            if self._feed is None:
                return await self._wait(accounts, known, asyncio.Queue(), timeout_s)
            with self._feed.listen(accounts) as inbox:
                return await self._wait(accounts, known, inbox, timeout_s)
        finally:
            if known.keys() >= set(accounts):
                self._remembered[accounts] = (time.monotonic(), known)

    async def _wait(
        self, accounts: tuple[str, ...], known: dict[str, AccountReading], inbox: Inbox, timeout_s: float
    ) -> bool:
        if await self._read(accounts, known):
            return True
        fault: TransientFault | None = None
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    change = await self._next(accounts, inbox)
                    if change is not None:
                        if _differs(known, change.address, _reading_of(change)):
                            return True
                        continue
                    try:
                        fault = None
                        if await self._read(accounts, known):
                            return True
                    except TransientFault as failed:
                        fault = failed
        except TimeoutError:
            if fault is not None:
                raise fault from None
            return False

    async def _next(self, accounts: tuple[str, ...], inbox: Inbox) -> AccountChange | None:
        """The next change; None when it is time to read the accounts."""
        listening = self._feed is not None and self._feed.is_subscribed(accounts)
        try:
            async with asyncio.timeout(LISTENING_POLL_S if listening else self._poll_s):
                return await inbox.get()
        except TimeoutError:
            return None

    async def _read(self, accounts: Iterable[str], known: dict[str, AccountReading]) -> bool:
        """Read every account; whether one differs from its reading in `known`, if it has one there."""
        found = False
        for address in accounts:
            account = await self._chain.token_account(address)
            slot = known[address].slot if account is None and address in known else 0
            reading = AccountReading(account.slot, _holding(account)) if account else AccountReading(slot, None)
            found |= _differs(known, address, reading)
        return found

    def _last_readings(self, accounts: tuple[str, ...]) -> dict[str, AccountReading]:
        """The readings with which the last call ended, unless they are too old."""
        oldest = time.monotonic() - REMEMBERED_S
        self._remembered = {key: each for key, each in self._remembered.items() if each[0] >= oldest}
        return dict(self._remembered.get(accounts, (0.0, {}))[1])


def _differs(known: dict[str, AccountReading], address: str, reading: AccountReading) -> bool:
    """Whether a reading differs from the one in `known`, which it replaces unless it is older."""
    before = known.get(address)
    if before is not None and reading.slot < before.slot:
        return False
    known[address] = reading
    return before is not None and reading.holding != before.holding


def _reading_of(change: AccountChange) -> AccountReading:
    return AccountReading(change.slot, _holding(read_token_account(change.address, change.account, change.slot)))


def _holding(account: TokenAccount | None) -> Holding | None:
    return (account.amount_atomic, account.delegate, account.delegated_atomic) if account else None
