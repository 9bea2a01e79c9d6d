"""The walk over every session's source account, newest to oldest, batch by batch against the ledger.

As of one finalized slot, read first: what landed later is left to the next run on both sides. The chain is read
before the ledger: an attempt is recorded before it leaves, so a transfer without an attempt is never just early.

It does no I/O: `Books` is the ledger, `ChainWalk` the chain, and `keep` stores the marks after every batch, so that
an interrupted run goes on in mid-account and a later one walks only what is newer.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import NamedTuple, Protocol
from uuid import UUID

from autopay.domain.errors import PermanentFault
from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.payment.chain import Tip
from autopay.domain.reconcile.compare import BookedAttempt, Finding, Line, Payer, compare, judge
from autopay.domain.reconcile.marks import Batch, Mark, Marks, SessionMark, Sums, Walk
from autopay.domain.reconcile.report import Report, report
from autopay.domain.values import Value


class CheckpointForeign(PermanentFault):
    """The checkpoint file is of another chain or of another ledger: give another file, or none."""


class Closing(Value):
    """The ledger's own totals up to a slot, from one snapshot, with attempts as they stand in it.

    `attempts` are those asked for by id, `strays` bookings that no walk can meet, `claimed` those on a receipt's word
    alone, `fresh` those booked above the slot.
    """

    payments: int
    spent_atomic: dict[Currency, int]
    attempts: tuple[BookedAttempt, ...] = ()
    strays: tuple[BookedAttempt, ...] = ()
    claimed: tuple[BookedAttempt, ...] = ()
    fresh: tuple[BookedAttempt, ...] = ()


class Books(Protocol):
    """What the ledger is asked."""

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
        """The session's bookings in those slots, and whatever has one of those messages or transactions."""
        ...

    async def closing(
        self, agent: str | None, network: Network, up_to_slot: int, attempt_ids: Sequence[UUID]
    ) -> Closing: ...


class ChainWalk(Protocol):
    """What the chain is asked; raises only faults."""

    async def finalized_tip(self) -> Tip: ...
    async def first_available_slot(self) -> int: ...

    def batches(
        self, payer: Payer, *, up_to_slot: int, before: str | None, until: Mark | None, min_slot: int
    ) -> AsyncIterator[Batch]:
        """The account's finalized history, newest first, from `up_to_slot` (and `before`) down to `until`.

        Batches tile the slots without a gap, and no slot is in two of them.
        """
        ...


class Walked(NamedTuple):
    """What the chain shows of one session, all in all, and what is wrong or open."""

    payer: Payer
    sums: Sums
    findings: tuple[Line, ...]


class ReconcileRun:
    """One reconciliation. `keep` and `tell` are called after each batch: to store the marks, and to show progress.

    Args:
        marks: what earlier runs have compared; changed in place.
    """

    def __init__(
        self,
        books: Books,
        chain: ChainWalk,
        network: Network,
        marks: Marks,
        keep: Callable[[Marks], None] = lambda _: None,
        tell: Callable[[int, int, int], None] = lambda *_: None,
    ) -> None:
        self.books = books
        self.chain = chain
        self.network = network
        self.marks = marks
        self.keep = keep
        self.tell = tell
        self.walked: list[Walked] = []
        self.seen = 0
        self.progress = (0, 0)
        self.first_held_slot = 0

    async def run(self, agent: str | None = None) -> Report:
        """Every session of the agent, or of all."""
        tip = (await self.chain.finalized_tip()).slot
        self.first_held_slot = await self.chain.first_available_slot()
        payers = await self.books.payers(agent)
        self.walked = []
        for number, payer in enumerate(payers):
            self.progress = (number, len(payers))
            self.tell(*self.progress, self.seen)
            self.walked.append(await self._session(payer, tip))
        self.tell(len(payers), len(payers), self.seen)
        return await self._report(agent, tip, self.walked)

    def met(self, finding: Finding) -> list[tuple[Payer, Line]]:
        """Where the last walk met that finding."""
        return [(each.payer, line) for each in self.walked for line in each.findings if line.finding is finding]

    async def _session(self, payer: Payer, tip: int) -> Walked:
        """Finish what an earlier run began, then walk what is newer; the last walk meets every finding again."""
        mark = self.marks.sessions.get(payer.session_id) or SessionMark(account=payer.source_account)
        if mark.account != payer.source_account:
            raise CheckpointForeign(f"session {payer.session_id} pays from another account there")
        while True:
            walk = await self._walk(payer, mark, mark.begun(tip))
            before, mark = mark, mark.finished(walk)
            self._store(payer, mark)
            if walk.up_to_slot >= tip:
                return Walked(payer, before.sums.added(walk.sums), walk.findings)

    async def _walk(self, payer: Payer, mark: SessionMark, walk: Walk) -> Walk:
        batches = self.chain.batches(
            payer, up_to_slot=walk.reached_slot, before=walk.before, until=mark.compared, min_slot=walk.up_to_slot
        )
        async for batch in batches:
            walk = walk.joined(batch, await self._compared(payer, batch))
            self._store(payer, mark.model_copy(update={"walk": walk}))
            self.seen += len(batch.seen)
            self.tell(*self.progress, self.seen)
        return walk

    def _store(self, payer: Payer, mark: SessionMark) -> None:
        self.marks.sessions[payer.session_id] = mark
        self.keep(self.marks)

    async def _compared(self, payer: Payer, batch: Batch) -> list[Line]:
        transfers = batch.transfers(payer.currency)
        attempts = await self.books.booked_attempts(
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

    async def _report(self, agent: str | None, tip: int, walked: Sequence[Walked]) -> Report:
        lines = [line for each in walked for line in each.findings]
        pending = [line.attempt.attempt_id for line in lines if _is_open(line) and line.attempt is not None]
        closing = await self.books.closing(agent, self.network, tip, pending)
        now = {attempt.attempt_id: attempt for attempt in closing.attempts}
        lines = [line for line in (_judged_again(line, now) for line in lines) if line.finding is not None]
        met = {line.attempt.attempt_id for line in lines if line.attempt is not None}
        for finding, attempts in (
            (None, closing.strays),
            (Finding.CLAIMED_ONLY, closing.claimed),
            (Finding.NOT_FINAL_YET, closing.fresh),
        ):
            lines += [_alone(finding, attempt) for attempt in attempts if attempt.attempt_id not in met]
        spent_chain: dict[Currency, int] = {}
        for each in walked:
            spent_chain[each.payer.currency] = spent_chain.get(each.payer.currency, 0) + each.sums.spent_atomic
        return report(
            lines,
            agent=agent,
            as_of_slot=tip,
            sessions=len(walked),
            payments=closing.payments,
            on_chain=sum(each.sums.on_chain for each in walked),
            others=sum(each.sums.others for each in walked),
            spent_ledger=closing.spent_atomic,
            spent_chain=spent_chain,
        )


def _is_open(line: Line) -> bool:
    return line.finding is Finding.OPEN_ON_CHAIN


def _judged_again(line: Line, now: Mapping[UUID, BookedAttempt]) -> Line:
    """An attempt that was open when its transfer was met may have been booked since."""
    if not _is_open(line) or line.transfer is None or line.attempt is None:
        return line
    attempt = now.get(line.attempt.attempt_id, line.attempt)
    return line.model_copy(update={"attempt": attempt, "finding": judge(line.transfer, attempt)})


def _alone(finding: Finding | None, attempt: BookedAttempt) -> Line:
    if finding is None:
        finding = Finding.NO_SLOT if attempt.slot is None else Finding.NO_SESSION
    return Line(finding=finding, agent=attempt.agent, currency=attempt.currency, attempt=attempt)
