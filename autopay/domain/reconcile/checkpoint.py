"""The state of a reconciliation, from which a later run continues: per session, how far its account was compared.

`SessionCheckpoint.compared` is the newest transaction such that it and everything older was compared without a finding.
It never passes a mismatch or an unresolved payment: the next run finds those again.
"""

from typing import Literal, Self
from uuid import UUID

from pydantic import BaseModel

from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.payment.chain import Transfer
from autopay.domain.reconcile.compare import ChainTransfer, ComparedTransfer
from autopay.domain.values import Value


class HistoryPosition(Value):
    """A finalized transaction in an account's history."""

    signature: str
    slot: int


class AccountTransaction(Value):
    """A finalized transaction in the account's history; `transfers` are those by the session key, none if it failed."""

    signature: str
    slot: int
    message_hash: str = ""
    transfers: tuple[Transfer, ...] = ()


class HistoryBatch(Value):
    """All of an account's transactions with `above_slot` < slot ≤ `up_to_slot`, newest first."""

    above_slot: int
    up_to_slot: int
    transactions: tuple[AccountTransaction, ...] = ()

    def transfers(self, currency: Currency) -> list[ChainTransfer]:
        """The transfers by the session key; an account holds one currency."""
        return [
            ChainTransfer(
                signature=each.signature,
                slot=each.slot,
                message_hash=each.message_hash,
                currency=currency,
                transfer=transfer,
            )
            for each in self.transactions
            for transfer in each.transfers
        ]


class ChainTotals(Value):
    """Counts on chain: transfers by the session key, their sum in base units, and other transactions."""

    on_chain: int = 0
    spent_atomic: int = 0
    others: int = 0

    def including(self, transactions: tuple[AccountTransaction, ...]) -> Self:
        """These totals and those transactions."""
        transfers = [transfer for each in transactions for transfer in each.transfers]
        return self.plus(
            ChainTotals(
                on_chain=len(transfers),
                spent_atomic=sum(transfer.amount_atomic for transfer in transfers),
                others=sum(not each.transfers for each in transactions),
            )
        )

    def plus(self, other: "ChainTotals") -> Self:
        """The sum of both."""
        return self.model_copy(
            update={
                "on_chain": self.on_chain + other.on_chain,
                "spent_atomic": self.spent_atomic + other.spent_atomic,
                "others": self.others + other.others,
            }
        )


class WalkProgress(Value):
    """One walk through an account's history, from `up_to_slot` down; everything above `reached_slot` is compared.

    `clean` is the newest transaction that is older than every finding so far; `clean_sums` counts it and what is older.
    """

    up_to_slot: int
    reached_slot: int
    before: str | None = None
    sums: ChainTotals = ChainTotals()
    clean: HistoryPosition | None = None
    clean_sums: ChainTotals = ChainTotals()
    findings: tuple[ComparedTransfer, ...] = ()

    def with_batch(self, batch: HistoryBatch, compared: list[ComparedTransfer]) -> Self:
        """The walk after one more batch, given how its transfers compare."""
        findings = tuple(each for each in compared if each.finding is not None)
        below = min((each.slot for each in findings), default=batch.up_to_slot + 1)
        clean_batch = tuple(each for each in batch.transactions if each.slot < below)
        clean, clean_sums = (self.clean, self.clean_sums) if not findings else (None, ChainTotals())
        if clean is None and clean_batch:
            clean = HistoryPosition(signature=clean_batch[0].signature, slot=clean_batch[0].slot)
        return self.model_copy(
            update={
                "reached_slot": batch.above_slot,
                "before": batch.transactions[-1].signature if batch.transactions else self.before,
                "sums": self.sums.including(batch.transactions),
                "clean": clean,
                "clean_sums": clean_sums.including(clean_batch),
                "findings": self.findings + findings,
            }
        )


class SessionCheckpoint(Value):
    """How far a session was compared, the totals up to there, and the walk that was interrupted, if any."""

    account: str
    compared: HistoryPosition | None = None
    sums: ChainTotals = ChainTotals()
    walk: WalkProgress | None = None

    def resume_or_start(self, up_to_slot: int) -> WalkProgress:
        """The walk that was interrupted, or a new one."""
        return self.walk or WalkProgress(up_to_slot=up_to_slot, reached_slot=up_to_slot)

    def after_walk(self, walk: WalkProgress) -> Self:
        """The checkpoint after a walk that went down to `compared`."""
        return self.model_copy(
            update={
                "compared": walk.clean or self.compared,
                "sums": self.sums.plus(walk.clean_sums),
                "walk": None,
            }
        )


class Checkpoint(BaseModel):
    """The content of a checkpoint file; a run changes `sessions` in place."""

    version: Literal[1] = 1
    network: Network
    sessions: dict[UUID, SessionCheckpoint] = {}
