"""One reconciliation: reads each session's account on chain, newest first, and compares it with the ledger.

It compares as of one finalized slot, read first: what lands later is left to the next run, on both sides. The chain is
read before the ledger: an attempt is recorded before it is sent, so a transfer without an attempt is never just early.

The ports are `BookedPayments` and `AccountHistory`. `save` stores the checkpoint after every batch, so that a later run
continues an interrupted one in the middle of an account, and reads only what is newer.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import NamedTuple, Protocol
from uuid import UUID

from autopay.domain.errors import PermanentFault
from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.payment.chain import Tip
from autopay.domain.progress import OnProgress, Progress, ignore_progress
from autopay.domain.reconcile.checkpoint import (
    ChainTotals,
    Checkpoint,
    HistoryBatch,
    HistoryPosition,
    SessionCheckpoint,
    WalkProgress,
)
from autopay.domain.reconcile.compare import BookedAttempt, ComparedTransfer, Payer, ReconcileFinding, compare, judge
from autopay.domain.reconcile.report import ReconcileReport, build_report
from autopay.domain.values import Value


class CheckpointForeign(PermanentFault):
    """The checkpoint file is of another chain or of another ledger: give another file, or none."""


class LedgerTotals(Value):
    """The ledger's own totals up to a slot, and attempts, all from one snapshot.

    `attempts` are those asked for by id, `strays` booked ones without a session or a slot (no walk finds them),
    `claimed` those with a seller's receipt alone, `fresh` those booked above the slot.
    """

    payments: int
    spent_atomic: dict[Currency, int]
    attempts: tuple[BookedAttempt, ...] = ()
    strays: tuple[BookedAttempt, ...] = ()
    claimed: tuple[BookedAttempt, ...] = ()
    fresh: tuple[BookedAttempt, ...] = ()


class BookedPayments(Protocol):
    """What a reconciliation reads from the ledger."""

    async def payers(self, agent: str | None) -> Sequence[Payer]: ...

    async def booked_attempts(
        self,
        session_id: UUID,
        *,
        above_slot: int,
        up_to_slot: int,
        message_hashes: Sequence[str],
        signatures: Sequence[str],
    ) -> Sequence[BookedAttempt]:
        """The session's booked attempts in those slots, and every attempt with one of those messages or signatures."""
        ...

    async def totals(
        self, agent: str | None, network: Network, up_to_slot: int, attempt_ids: Sequence[UUID]
    ) -> LedgerTotals: ...


class AccountHistory(Protocol):
    """What a reconciliation reads from the chain; raises only faults."""

    async def finalized_tip(self) -> Tip: ...
    async def first_available_slot(self) -> int: ...

    def batches(
        self, payer: Payer, *, up_to_slot: int, before: str | None, until: HistoryPosition | None, min_slot: int
    ) -> AsyncIterator[HistoryBatch]:
        """The account's finalized history, newest first, from `up_to_slot` (and `before`) down to `until`.

        The batches cover all slots without a gap, and no slot is in two of them.
        """
        ...


class WalkedSession(NamedTuple):
    """The totals on chain of one session, and its findings."""

    payer: Payer
    totals: ChainTotals
    findings: tuple[ComparedTransfer, ...]


class ReconcileRun:
    """One reconciliation. `save` and `on_progress` are called after each batch.

    Args:
        checkpoint: what earlier runs have compared; changed in place.
    """

    def __init__(
        self,
        payments: BookedPayments,
        chain: AccountHistory,
        network: Network,
        checkpoint: Checkpoint,
        save: Callable[[Checkpoint], None] = lambda _: None,
        on_progress: OnProgress = ignore_progress,
    ) -> None:
        self.payments = payments
        self.chain = chain
        self.network = network
        self.checkpoint = checkpoint
        self.save = save
        self.on_progress = on_progress
        self.walked: list[WalkedSession] = []
        self.transactions = 0
        self.first_held_slot = 0
        self.sessions = 0

    async def run(self, agent: str | None = None) -> ReconcileReport:
        """Compare every session of the agent, or of all agents."""
        tip = (await self.chain.finalized_tip()).slot
        self.first_held_slot = await self.chain.first_available_slot()
        payers = await self.payments.payers(agent)
        self.walked = []
        self.sessions = len(payers)
        for payer in payers:
            self._show_progress()
            self.walked.append(await self._session(payer, tip))
        self._show_progress()
        return await self._report(agent, tip, self.walked)

    def with_finding(self, finding: ReconcileFinding) -> list[tuple[Payer, ComparedTransfer]]:
        """The sessions and transfers with that finding, after a run."""
        return [(each.payer, line) for each in self.walked for line in each.findings if line.finding is finding]

    async def _session(self, payer: Payer, tip: int) -> WalkedSession:
        """Finish the walk that an earlier run began, then walk what is newer; the last walk has every finding again."""
        mark = self.checkpoint.sessions.get(payer.session_id) or SessionCheckpoint(account=payer.source_account)
        if mark.account != payer.source_account:
            raise CheckpointForeign(f"session {payer.session_id} pays from another account there")
        while True:
            walk = await self._walk(payer, mark, mark.resume_or_start(tip))
            before, mark = mark, mark.after_walk(walk)
            self._store(payer, mark)
            if walk.up_to_slot >= tip:
                return WalkedSession(payer, before.sums.plus(walk.sums), walk.findings)

    async def _walk(self, payer: Payer, mark: SessionCheckpoint, walk: WalkProgress) -> WalkProgress:
        batches = self.chain.batches(
            payer, up_to_slot=walk.reached_slot, before=walk.before, until=mark.compared, min_slot=walk.up_to_slot
        )
        async for batch in batches:
            walk = walk.with_batch(batch, await self._compare_batch(payer, batch))
            self._store(payer, mark.model_copy(update={"walk": walk}))
            self.transactions += len(batch.transactions)
            self._show_progress()
        return walk

    def _show_progress(self) -> None:
        done, total = len(self.walked), self.sessions
        text = f"session {done} of {total}, {self.transactions} transactions walked"
        self.on_progress(Progress(text, done, total))

    def _store(self, payer: Payer, mark: SessionCheckpoint) -> None:
        self.checkpoint.sessions[payer.session_id] = mark
        self.save(self.checkpoint)

    async def _compare_batch(self, payer: Payer, batch: HistoryBatch) -> list[ComparedTransfer]:
        transfers = batch.transfers(payer.currency)
        attempts = await self.payments.booked_attempts(
            payer.session_id,
            above_slot=batch.above_slot,
            up_to_slot=batch.up_to_slot,
            message_hashes=[each.message_hash for each in transfers],
            signatures=[each.signature for each in transfers],
        )
        return compare(
            payer,
            transfers,
            attempts,
            above_slot=batch.above_slot,
            up_to_slot=batch.up_to_slot,
            first_held_slot=self.first_held_slot,
        )

    async def _report(self, agent: str | None, tip: int, walked: Sequence[WalkedSession]) -> ReconcileReport:
        findings = [each for session in walked for each in session.findings]
        pending = [each.attempt.attempt_id for each in findings if _is_open(each) and each.attempt is not None]
        totals = await self.payments.totals(agent, self.network, tip, pending)
        now = {attempt.attempt_id: attempt for attempt in totals.attempts}
        findings = [each for each in (_judge_again(each, now) for each in findings) if each.finding is not None]
        listed = {each.attempt.attempt_id for each in findings if each.attempt is not None}
        for finding, attempts in (
            (None, totals.strays),
            (ReconcileFinding.CLAIMED_ONLY, totals.claimed),
            (ReconcileFinding.NOT_FINAL_YET, totals.fresh),
        ):
            findings += [_unmatched(finding, attempt) for attempt in attempts if attempt.attempt_id not in listed]
        spent_chain: dict[Currency, int] = {}
        for each in walked:
            spent_chain[each.payer.currency] = spent_chain.get(each.payer.currency, 0) + each.totals.spent_atomic
        return build_report(
            findings,
            agent=agent,
            as_of_slot=tip,
            sessions=len(walked),
            payments=totals.payments,
            on_chain=sum(each.totals.on_chain for each in walked),
            others=sum(each.totals.others for each in walked),
            spent_ledger=totals.spent_atomic,
            spent_chain=spent_chain,
        )


def _is_open(compared: ComparedTransfer) -> bool:
    return compared.finding is ReconcileFinding.OPEN_ON_CHAIN


def _judge_again(compared: ComparedTransfer, now: Mapping[UUID, BookedAttempt]) -> ComparedTransfer:
    """Judge an attempt that was open when its transfer was read as it is now: it may have been booked since."""
    if not _is_open(compared) or compared.transfer is None or compared.attempt is None:
        return compared
    attempt = now.get(compared.attempt.attempt_id, compared.attempt)
    return compared.model_copy(update={"attempt": attempt, "finding": judge(compared.transfer, attempt)})


def _unmatched(finding: ReconcileFinding | None, attempt: BookedAttempt) -> ComparedTransfer:
    if finding is None:
        finding = ReconcileFinding.NO_SLOT if attempt.slot is None else ReconcileFinding.NO_SESSION
    return ComparedTransfer(finding=finding, agent=attempt.agent, currency=attempt.currency, attempt=attempt)
