"""How far a reconciliation has come: what one batch of an account's history adds, and from where a later run goes on.

The mark of a session is the newest transaction such that it and everything older was compared and found well. It
never passes a mismatch or a payment that is still open: the next run meets those again. Pure.
"""

from typing import Literal, Self
from uuid import UUID

from pydantic import BaseModel

from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.payment.chain import Transfer
from autopay.domain.reconcile.compare import ChainTransfer, Line
from autopay.domain.values import Value


class Mark(Value):
    """A finalized transaction in an account's history."""

    signature: str
    slot: int


class Seen(Value):
    """A finalized transaction that names the account; `transfers` are the session key's own, none if it failed."""

    signature: str
    slot: int
    message_hash: str = ""
    transfers: tuple[Transfer, ...] = ()


class Batch(Value):
    """All of an account's transactions with `above_slot` < slot ≤ `up_to_slot`, newest first."""

    above_slot: int
    up_to_slot: int
    seen: tuple[Seen, ...] = ()

    def transfers(self, currency: Currency) -> list[ChainTransfer]:
        """Ours among them; the account holds one currency."""
        return [
            ChainTransfer(
                signature=each.signature,
                slot=each.slot,
                message_hash=each.message_hash,
                currency=currency,
                transfer=transfer,
            )
            for each in self.seen
            for transfer in each.transfers
        ]


class Sums(Value):
    """What was counted on chain: our transfers, their base units, and transactions without one."""

    on_chain: int = 0
    spent_atomic: int = 0
    others: int = 0

    def plus(self, seen: tuple[Seen, ...]) -> Self:
        """With these transactions."""
        transfers = [transfer for each in seen for transfer in each.transfers]
        return self.added(
            Sums(
                on_chain=len(transfers),
                spent_atomic=sum(transfer.amount_atomic for transfer in transfers),
                others=sum(not each.transfers for each in seen),
            )
        )

    def added(self, other: "Sums") -> Self:
        """Both together."""
        return self.model_copy(
            update={
                "on_chain": self.on_chain + other.on_chain,
                "spent_atomic": self.spent_atomic + other.spent_atomic,
                "others": self.others + other.others,
            }
        )


class Walk(Value):
    """One walk from `up_to_slot` down to the session's mark; complete to above `reached_slot`.

    `clean` is the newest transaction below every finding so far, `clean_sums` counts it and what is older.
    """

    up_to_slot: int
    reached_slot: int
    before: str | None = None
    sums: Sums = Sums()
    clean: Mark | None = None
    clean_sums: Sums = Sums()
    findings: tuple[Line, ...] = ()

    def joined(self, batch: Batch, lines: list[Line]) -> Self:
        """With one more batch and what was found in it."""
        findings = tuple(line for line in lines if line.finding is not None)
        below = min((line.slot for line in findings), default=batch.up_to_slot + 1)
        well = tuple(each for each in batch.seen if each.slot < below)
        clean, clean_sums = (self.clean, self.clean_sums) if not findings else (None, Sums())
        if clean is None and well:
            clean = Mark(signature=well[0].signature, slot=well[0].slot)
        return self.model_copy(
            update={
                "reached_slot": batch.above_slot,
                "before": batch.seen[-1].signature if batch.seen else self.before,
                "sums": self.sums.plus(batch.seen),
                "clean": clean,
                "clean_sums": clean_sums.plus(well),
                "findings": self.findings + findings,
            }
        )


class SessionMark(Value):
    """Where a session stands: `compared` and the sums up to it, on both sides the same; `walk` if one was cut off."""

    account: str
    compared: Mark | None = None
    sums: Sums = Sums()
    walk: Walk | None = None

    def begun(self, up_to_slot: int) -> Walk:
        """The walk that was cut off, or a new one."""
        return self.walk or Walk(up_to_slot=up_to_slot, reached_slot=up_to_slot)

    def finished(self, walk: Walk) -> Self:
        """After a walk that went down to `compared`."""
        return self.model_copy(
            update={
                "compared": walk.clean or self.compared,
                "sums": self.sums.added(walk.clean_sums),
                "walk": None,
            }
        )


class Marks(BaseModel):
    """A checkpoint file's content; `sessions` is changed in place as a run goes on."""

    version: Literal[1] = 1
    network: Network
    sessions: dict[UUID, SessionMark] = {}
