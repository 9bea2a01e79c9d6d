"""The sources of gauges: the ledger, the chain beside it, and the folder of backups."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol
from uuid import UUID

from autopay.domain.payment.chain import TokenAccount
from autopay.metrics import labels, table
from autopay.metrics.gauges import Reading, Source

LEDGER_EVERY_S = 15.0
CHAIN_EVERY_S = 60.0
BACKUPS_EVERY_S = 60.0

MOST_SESSIONS = 20
"""Sessions whose account is read from the chain in one round; of more, those that end last."""


class LiveSession(NamedTuple):
    """The newest granted session of an agent in a currency, base units: `settled` is what the ledger knows for final,
    `reserved` that and all that is not proven dead."""

    session_id: UUID
    agent: str
    currency: str
    source_account: str
    authority: str
    allowance_atomic: int
    settled_atomic: int
    reserved_atomic: int


class LedgerGauges(Protocol):
    """What is asked of the ledger."""

    async def read(self) -> Sequence[Reading]: ...
    async def sellers(self, most: int) -> Sequence[str]: ...
    async def live_sessions(self, most: int) -> Sequence[LiveSession]: ...


class Accounts(Protocol):
    """What is asked of the chain."""

    async def token_account(self, address: str) -> TokenAccount | None: ...


def all_sources(ledger: LedgerGauges, chain: Accounts, backups: Path) -> Sequence[Source]:
    """Everything that a worker shows."""

    async def of_ledger() -> Sequence[Reading]:
        labels.SELLERS.add(await ledger.sellers(labels.MOST_SELLERS))
        return await ledger.read()

    async def of_chain() -> Sequence[Reading]:
        return await compare_with_chain(ledger, chain)

    async def of_backups() -> Sequence[Reading]:
        return await asyncio.to_thread(newest_backup, backups, time.time())

    return (
        Source("ledger", LEDGER_EVERY_S, of_ledger),
        Source("chain", CHAIN_EVERY_S, of_chain),
        Source("backups", BACKUPS_EVERY_S, of_backups),
    )


async def compare_with_chain(ledger: LedgerGauges, chain: Accounts) -> Sequence[Reading]:
    """What the chain still lets each session's key move, and whether what is gone of it is what the ledger says.

    The chain counts down what it lets a delegate move, so what is gone is what the key has moved, whoever used it. The
    ledger is read before and after: what it knew for final before must be gone, and no more than what it had reserved
    after. A delegate that the owner has replaced, or that is used up, is not on the chain any more: nothing to compare.

    Raises:
        LedgerUnavailable, ChainUnavailable: one of the two does not answer.
    """
    before = await ledger.live_sessions(MOST_SESSIONS)
    accounts = [await chain.token_account(each.source_account) for each in before]
    after = {each.session_id: each for each in await ledger.live_sessions(MOST_SESSIONS)}
    found: list[Reading] = []
    for session, account in zip(before, accounts, strict=True):
        of = {"agent": session.agent, "currency": session.currency}
        is_delegate = account is not None and account.delegate == session.authority
        left = account.delegated_atomic if account is not None and is_delegate else 0
        found.append(Reading(table.DELEGATED, left, of))
        later = after.get(session.session_id)
        if is_delegate and later is not None and session.allowance_atomic == later.allowance_atomic:
            gone = session.allowance_atomic - left
            difference = max(0, gone - later.reserved_atomic) + max(0, session.settled_atomic - gone)
            found.append(Reading(table.DIFFERENCE, difference, of))
    return found


def newest_backup(folder: Path, now: float) -> Sequence[Reading]:
    """The age of the newest dump in the folder; nothing without one, or without the folder.

    Raises:
        OSError: the folder cannot be read.
    """
    if not folder.is_dir():
        return ()
    times = [each.stat().st_mtime for each in folder.glob("*.dump")]
    return (Reading(table.BACKUP_AGE, max(0.0, now - max(times))),) if times else ()
