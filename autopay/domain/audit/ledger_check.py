"""Checks a snapshot of the ledger against its own events: chains, heads, rows, counters and anchors.

The snapshot is read in pages (port `LedgerSnapshot`), so that memory stays bounded. `solana_check` asks the chain.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from autopay.domain.audit.anchor import Anchor, AnchorState, format_heads, parse_heads, root_hash
from autopay.domain.audit.event_chain import AuditFindings, EventChainCheck
from autopay.domain.audit.events import (
    CREATION_VERBS,
    Event,
    Head,
    Mismatch,
    MismatchReason,
    parse_exact_json,
    replay,
    row_mismatch,
)
from autopay.domain.audit.report import AuditFinding
from autopay.domain.progress import OnProgress, Progress, ignore_progress

EVENTS_A_PAGE = 1_000
ROWS_A_PAGE = 200
ANCHORS_A_PAGE = 20
HASHES_A_QUESTION = 1_000

AGENT_TABLES = (
    *("agents", "sessions", "policies", "api_request_logs", "transactions", "approvals"),
    "operator_actions",
)
"""Tables whose rows belong to an agent."""

TABLES = (*AGENT_TABLES, "counterparties", "fences", "api_tokens", "webhook_endpoints")
"""Tables whose changes are events."""


class Usage(NamedTuple):
    """So many payments count as spent, and so many base units."""

    payments: int
    spent_atomic: int

    def __str__(self) -> str:
        return f"{self.payments} payments of {self.spent_atomic} base units"


class WrongCounter(NamedTuple):
    """A counter of a session, or of an agent's day at a host, that is not the sum of its payments."""

    table: str
    name: str
    agent_id: UUID | None
    session_id: UUID | None
    counted: Usage
    booked: Usage


class LedgerSnapshot(Protocol):
    """One snapshot of the ledger: of one agent's chain and rows, or of all."""

    async def missing_triggers(self) -> Sequence[str]: ...

    async def wrong_counters(self) -> Sequence[WrongCounter]: ...

    async def heads(self) -> Sequence[Head]: ...

    async def events(self, after: tuple[UUID, int] | None, limit: int) -> Sequence[Event]:
        """The next events after that chain and seq, ordered by both."""
        ...

    async def rows(self, table: str, after: UUID | None, limit: int) -> Sequence[tuple[UUID, str]]:
        """The next rows after that id, ordered by id, as the JSON that their events record."""
        ...

    async def events_of(self, table: str, row_ids: Sequence[UUID]) -> Sequence[Event]:
        """Every event of these rows, ordered by row and seq."""
        ...

    async def existing(self, table: str, row_ids: Sequence[UUID]) -> frozenset[UUID]: ...

    async def with_other_content(self, row_ids: Sequence[UUID]) -> Sequence[UUID]:
        """Those of these requests whose stored content does not have the recorded hash."""
        ...

    async def anchors(self, after: UUID | None, limit: int) -> Sequence[Anchor]:
        """The next anchors after that id, oldest first; the ids sort by time."""
        ...

    async def hashes_at(self, places: Sequence[Head]) -> Mapping[tuple[UUID, int], bytes]:
        """The hashes of the events that exist at those chains and seqs."""
        ...


class LedgerCheck:
    """One check of a snapshot; afterwards its attributes have the findings, the counts and the newest final anchor."""

    def __init__(
        self, snapshot: LedgerSnapshot, on_progress: OnProgress = ignore_progress, *, tables: Sequence[str] = TABLES
    ) -> None:
        self.snapshot = snapshot
        self.on_progress = on_progress
        self.tables = tables
        self.findings = AuditFindings()
        self.chains = self.events = self.rows = self.anchors = 0
        self.heads: Sequence[Head] = ()
        self.newest: Anchor | None = None

    async def run(self, agent_id: UUID | None = None) -> None:
        """Check triggers, chains, rows, counters and anchors; of anchors only that agent's heads, when one is given."""
        for name in await self.snapshot.missing_triggers():
            self.findings.add(
                AuditFinding(reason=MismatchReason.TRIGGER_MISSING, detail=f"trigger {name} is missing or disabled")
            )
        self.heads = await self.snapshot.heads()
        await self._check_chains()
        for table in self.tables:
            await self._check_table(table)
        await self._check_counters()
        await self._check_anchors(agent_id)

    async def _check_chains(self) -> None:
        check = EventChainCheck(self.heads, self.findings)
        after: tuple[UUID, int] | None = None
        while page := await self.snapshot.events(after, EVENTS_A_PAGE):
            for event in page:
                check.take(event)
            await self._find_missing_rows(page)
            after = page[-1].agent_id, page[-1].seq
            self.events += len(page)
            self.on_progress(Progress(f"{self.events} events"))
        check.end()
        self.chains = check.chains

    async def _find_missing_rows(self, page: Sequence[Event]) -> None:
        """Rows with a `created` or `adopted` event in this page, no `deleted` event, and no row in the table."""
        created: dict[str, dict[UUID, Event]] = defaultdict(dict)
        for event in page:
            if event.verb in CREATION_VERBS and event.table in self.tables:
                created[event.table][event.row_id] = event
        for table, events in created.items():
            missing = events.keys() - await self.snapshot.existing(table, list(events))
            if not missing:
                continue
            later = await self.snapshot.events_of(table, list(missing))
            for row_id in missing - {event.row_id for event in later if event.verb == "deleted"}:
                wrong = Mismatch(MismatchReason.ROW_MISSING, "it has events, and the row is not there")
                self.findings.add(_row_finding(table, row_id, wrong, events[row_id].agent_id))

    async def _check_table(self, table: str) -> None:
        after: UUID | None = None
        while page := await self.snapshot.rows(table, after, ROWS_A_PAGE):
            ids = [row_id for row_id, _ in page]
            events: dict[UUID, list[Event]] = defaultdict(list)
            for event in await self.snapshot.events_of(table, ids):
                events[event.row_id].append(event)
            for row_id, text in page:
                row = parse_exact_json(text)
                assert row is not None, "the database's own JSON"
                wrong = row_mismatch(table, row, replay(events[row_id]))
                if wrong is not None:
                    self.findings.add(_row_finding(table, row_id, wrong, _owner(row)))
            if table == "api_request_logs":
                for row_id in await self.snapshot.with_other_content(ids):
                    wrong = Mismatch(MismatchReason.CONTENT_DIFFERS, "its content does not have the recorded hash")
                    self.findings.add(_row_finding(table, row_id, wrong, None))
            after = ids[-1]
            self.rows += len(page)
            self.on_progress(Progress(f"{self.rows} rows"))

    async def _check_counters(self) -> None:
        for wrong in await self.snapshot.wrong_counters():
            self.findings.add(
                AuditFinding(
                    reason=MismatchReason.COUNTER_DIFFERS,
                    detail=f"the counter of {wrong.name} says {wrong.counted}, booked are {wrong.booked}",
                    table=wrong.table,
                    row_id=wrong.session_id,
                    agent_id=wrong.agent_id,
                )
            )

    async def _check_anchors(self, agent_id: UUID | None) -> None:
        after: UUID | None = None
        known: frozenset[Head] = frozenset()
        while page := await self.snapshot.anchors(after, ANCHORS_A_PAGE):
            for anchor in page:
                known = await self._check_anchor(anchor, known, agent_id)
                self.anchors += 1
            after = page[-1].id
            self.on_progress(Progress(f"{self.anchors} anchors"))

    async def _check_anchor(self, anchor: Anchor, known: frozenset[Head], agent_id: UUID | None) -> frozenset[Head]:
        """Check the heads that are not `known` from the anchor before; returns all heads of this one."""
        try:
            heads = list(parse_heads(anchor.heads))
        except ValueError:
            heads = []
        if format_heads(heads) != anchor.heads or root_hash(anchor.heads) != anchor.root:
            detail = f"the anchor of {anchor.created_at:%F %T} UTC lists heads that do not give its hash"
            self.findings.add(AuditFinding(reason=MismatchReason.ANCHOR_BROKEN, detail=detail, table="audit_anchors"))
            return known
        if anchor.status is AnchorState.FINALIZED:
            self.newest = anchor
        fresh = [head for head in heads if head not in known and agent_id in (None, head.agent_id)]
        for start in range(0, len(fresh), HASHES_A_QUESTION):
            part = fresh[start : start + HASHES_A_QUESTION]
            hashes = await self.snapshot.hashes_at(part)
            for head in part:
                found = hashes.get((head.agent_id, head.seq))
                if found != head.hash:
                    self.findings.add(_not_in_chain(anchor, head, found))
        return frozenset(heads)


def _not_in_chain(anchor: Anchor, head: Head, found: bytes | None) -> AuditFinding:
    then = f"{anchor.created_at:%F %T} UTC"
    now = "there is no such event now" if found is None else f"now it is {found.hex()[:16]}…"
    detail = f"when it was anchored at {then}, event {head.seq} had hash {head.hash.hex()[:16]}…, {now}"
    return AuditFinding(reason=MismatchReason.ANCHOR_NOT_IN_CHAIN, detail=detail, agent_id=head.agent_id, seq=head.seq)


def _row_finding(table: str, row_id: UUID, wrong: Mismatch, agent_id: UUID | None) -> AuditFinding:
    return AuditFinding(reason=wrong.reason, detail=wrong.detail, table=table, row_id=row_id, agent_id=agent_id)


def _owner(row: Mapping[str, Any]) -> UUID | None:
    owner = row.get("agent_id")
    return UUID(owner) if isinstance(owner, str) else None
