"""A ledger and a chain in memory, as a reconciliation sees them; every payment is on both unless a test says not."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.payment.chain import Tip, Transfer
from autopay.domain.payment.payment import Settlement
from autopay.domain.payment.settlement import verification_hash
from autopay.domain.reconcile.checkpoint import AccountTransaction, Checkpoint, HistoryBatch, HistoryPosition
from autopay.domain.reconcile.compare import BookedAttempt, Payer
from autopay.domain.reconcile.report import ReconcileReport
from autopay.domain.reconcile.run import CheckpointForeign, LedgerTotals, ReconcileRun

PRICE = 1_000


class CutOff(Exception):
    """The run was interrupted."""


def payer_of(agent: str = "buyer", currency: Currency = Currency.USDC) -> Payer:
    """A session."""
    name = uuid4()
    return Payer(
        session_id=name, agent=agent, currency=currency, source_account=f"source {name}", authority=f"key {name}"
    )


def transfer_of(payer: Payer, **changes: object) -> Transfer:
    """What a payment moves."""
    values: dict[str, object] = {
        "source": payer.source_account,
        "mint": f"mint {payer.currency}",
        "destination": "shop",
        "authority": payer.authority,
        "amount_atomic": PRICE,
    }
    return Transfer.model_validate(values | changes)


def seen_of(payer: Payer, slot: int, name: str = "", **changes: object) -> AccountTransaction:
    """A payment on chain."""
    label = name or str(slot)
    transfers = (transfer_of(payer, **changes),)
    return AccountTransaction(
        signature=f"signature {label}", slot=slot, message_hash=f"message {label}", transfers=transfers
    )


def booked_of(payer: Payer, slot: int | None, name: str = "", **changes: Any) -> BookedAttempt:
    """The attempt of that payment, VERIFIED."""
    label = name or str(slot)
    moved = transfer_of(payer)
    values: dict[str, Any] = {
        "attempt_id": uuid4(),
        "agent": payer.agent,
        "request_id": f"request {label}",
        "number": 1,
        "network": Network.DEVNET,
        "status": "VERIFIED",
        "currency": payer.currency,
        "amount_atomic": moved.amount_atomic,
        "mint": moved.mint,
        "source_account": moved.source,
        "destination_account": moved.destination,
        "authority": moved.authority,
        "message_hash": f"message {label}",
        "signature": f"signature {label}",
        "slot": slot,
    }
    settlement = Settlement(
        signature=f"signature {label}",
        slot=slot or 0,
        payer=moved.authority,
        destination=moved.destination,
        mint=moved.mint,
        amount_atomic=moved.amount_atomic,
    )
    proof = verification_hash(Network.DEVNET, settlement)
    return BookedAttempt.model_validate(values | {"verification_hash": proof} | changes)


@dataclass
class BooksAndChain:
    """Both ports, `BookedPayments` and `AccountHistory`; `calls` counts batches; it is cut off before `cut_before`."""

    payers_known: list[Payer] = field(default_factory=list)
    rows: list[tuple[UUID | None, BookedAttempt]] = field(default_factory=list)
    chain: dict[str, list[AccountTransaction]] = field(default_factory=dict)
    tip: int = 1_000
    held: int = 0
    batch: int = 3
    calls: int = 0
    walked: int = 0
    cut_before: int | None = None
    marks: Checkpoint = field(default_factory=lambda: Checkpoint(network=Network.DEVNET))

    def session(self, agent: str = "buyer", currency: Currency = Currency.USDC) -> Payer:
        """One more session."""
        payer = payer_of(agent, currency)
        self.payers_known.append(payer)
        self.chain[payer.source_account] = []
        return payer

    def land(self, payer: Payer, seen: AccountTransaction) -> None:
        """A transaction that names the account."""
        rows = self.chain[payer.source_account]
        rows.append(seen)
        rows.sort(key=lambda each: -each.slot)

    def book(self, payer: Payer | None, attempt: BookedAttempt) -> BookedAttempt:
        """A row of the ledger."""
        self.rows.append((payer.session_id if payer else None, attempt))
        return attempt

    def pay(self, payer: Payer, slot: int, name: str = "") -> None:
        """A payment on both."""
        self.land(payer, seen_of(payer, slot, name))
        self.book(payer, booked_of(payer, slot, name))

    def amend(self, attempt: BookedAttempt, **changes: object) -> None:
        """Change a row."""
        self.rows = [
            (session, row.model_copy(update=changes) if row.attempt_id == attempt.attempt_id else row)
            for session, row in self.rows
        ]

    async def reconcile(self, agent: str | None = None) -> ReconcileReport:
        """One run, over marks that went through JSON."""
        self.marks = Checkpoint.model_validate_json(self.marks.model_dump_json())
        return await ReconcileRun(self, self, Network.DEVNET, self.marks).run(agent)

    # BookedPayments

    async def payers(self, agent: str | None) -> Sequence[Payer]:
        return [payer for payer in self.payers_known if agent in (None, payer.agent)]

    async def booked_attempts(
        self,
        session_id: UUID,
        *,
        above_slot: int,
        up_to_slot: int,
        message_hashes: Sequence[str],
        signatures: Sequence[str],
    ) -> Sequence[BookedAttempt]:
        def wanted(session: UUID | None, row: BookedAttempt) -> bool:
            within = row.slot is not None and above_slot < row.slot <= up_to_slot
            met = row.message_hash in message_hashes or row.signature in signatures
            return met or (session == session_id and row.is_booked and within)

        return [row for session, row in self.rows if wanted(session, row)]

    async def totals(
        self, agent: str | None, network: Network, up_to_slot: int, attempt_ids: Sequence[UUID]
    ) -> LedgerTotals:
        rows = [(session, row) for session, row in self.rows if agent in (None, row.agent)]
        counted = [each for each in rows if each[1].is_booked and (each[1].slot or 0) <= up_to_slot]
        spent: dict[Currency, int] = {}
        for _, row in counted:
            spent[row.currency] = spent.get(row.currency, 0) + row.amount_atomic
        return LedgerTotals(
            payments=len(counted),
            spent_atomic=spent,
            attempts=tuple(row for _, row in rows if row.attempt_id in attempt_ids),
            strays=tuple(row for session, row in counted if session is None or row.slot is None),
            claimed=tuple(row for _, row in rows if row.status == "SUCCESS" and row.slot is None),
            fresh=tuple(row for _, row in rows if row.is_booked and (row.slot or 0) > up_to_slot),
        )

    # AccountHistory

    async def finalized_tip(self) -> Tip:
        return Tip(slot=self.tip, block_height=self.tip)

    async def first_available_slot(self) -> int:
        return self.held

    async def batches(
        self, payer: Payer, *, up_to_slot: int, before: str | None, until: HistoryPosition | None, min_slot: int
    ) -> AsyncIterator[HistoryBatch]:
        history = self.chain[payer.source_account]
        if until is not None and all(each.signature != until.signature for each in history):
            raise CheckpointForeign(until.signature)
        floor = until.slot if until else -1
        left = [each for each in history if floor < each.slot <= up_to_slot]
        while True:
            if self.calls == self.cut_before:
                raise CutOff
            self.calls += 1
            cut = left[self.batch].slot if len(left) > self.batch else floor
            seen = tuple(each for each in left if each.slot > cut)
            self.walked += len(seen)
            yield HistoryBatch(above_slot=cut, up_to_slot=up_to_slot, transactions=seen)
            up_to_slot, left = cut, left[len(seen) :]
            if cut == floor:
                return
