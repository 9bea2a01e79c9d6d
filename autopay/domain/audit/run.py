"""The check of the ledger's proof against itself: every chain, its head, every row, every anchor; in bounded memory.

It does no I/O: `AuditBooks` is one snapshot of the ledger. What the Solana chain says is asked in audit_chain.py.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol
from uuid import UUID

from autopay.domain.audit.anchor import Anchor, AnchorState, heads_in, lines_of, root_of
from autopay.domain.audit.events import BIRTHS, Event, Head, Misfit, Reason, read_exactly, row_misfit, told_by
from autopay.domain.audit.report import Finding
from autopay.domain.audit.walk import ChainWalk, Findings

EVENTS_A_PAGE = 1_000
ROWS_A_PAGE = 200
ANCHORS_A_PAGE = 20
HASHES_A_QUESTION = 1_000

OWNED = ("agents", "sessions", "policies", "api_request_logs", "transactions", "approvals")
"""Tables whose rows belong to an agent."""

TABLES = (*OWNED, "counterparties", "fences")
"""What events tell of."""

Tell = Callable[[str, int], None]


class AuditBooks(Protocol):
    """One snapshot of the ledger, of one agent's chain and rows or of all."""

    async def missing_triggers(self) -> Sequence[str]: ...

    async def heads(self) -> Sequence[Head]: ...

    async def events(self, after: tuple[UUID, int] | None, limit: int) -> Sequence[Event]:
        """Events above that chain and seq, ordered by both."""
        ...

    async def rows(self, table: str, after: UUID | None, limit: int) -> Sequence[tuple[UUID, str]]:
        """Rows above that id, by id: what events tell of them, as JSON."""
        ...

    async def events_of(self, table: str, row_ids: Sequence[UUID]) -> Sequence[Event]:
        """Every event about these rows, by row and seq."""
        ...

    async def existing(self, table: str, row_ids: Sequence[UUID]) -> frozenset[UUID]: ...

    async def with_other_content(self, row_ids: Sequence[UUID]) -> Sequence[UUID]:
        """Requests among these whose stored content has not the hash that is recorded."""
        ...

    async def anchors(self, after: UUID | None, limit: int) -> Sequence[Anchor]:
        """Anchors above that id, oldest first; the ids sort by time."""
        ...

    async def hashes_at(self, places: Sequence[Head]) -> Mapping[tuple[UUID, int], bytes]:
        """The hashes of the events at those chains and seqs, as far as there are any."""
        ...


class AuditRun:
    """One check of a snapshot. `tell` is called with what is being checked and how much of it is."""

    def __init__(self, books: AuditBooks, tell: Tell = lambda *_: None, *, tables: Sequence[str] = TABLES) -> None:
        self.books = books
        self.tell = tell
        self.tables = tables
        self.findings = Findings()
        self.chains = self.events = self.rows = self.anchors = 0
        self.heads: Sequence[Head] = ()
        self.newest: Anchor | None = None

    async def run(self, agent_id: UUID | None = None) -> None:
        """All of it; anchors as far as they speak of that agent's chain, or of any."""
        for name in await self.books.missing_triggers():
            self.findings.add(Finding(reason=Reason.TRIGGER_MISSING, detail=f"trigger {name} is missing or disabled"))
        self.heads = await self.books.heads()
        await self._chains()
        for table in self.tables:
            await self._table(table)
        await self._anchors(agent_id)

    async def _chains(self) -> None:
        walk = ChainWalk(self.heads, self.findings)
        after: tuple[UUID, int] | None = None
        while page := await self.books.events(after, EVENTS_A_PAGE):
            for event in page:
                walk.take(event)
            await self._gone(page)
            after = page[-1].agent_id, page[-1].seq
            self.events += len(page)
            self.tell("events", self.events)
        walk.end()
        self.chains = walk.chains

    async def _gone(self, page: Sequence[Event]) -> None:
        """Rows whose beginning is told in this page, and that are not there, though nothing tells of their end."""
        born: dict[str, dict[UUID, Event]] = defaultdict(dict)
        for event in page:
            if event.verb in BIRTHS and event.table in self.tables:
                born[event.table][event.row_id] = event
        for table, births in born.items():
            missing = births.keys() - await self.books.existing(table, list(births))
            if not missing:
                continue
            ended = await self.books.events_of(table, list(missing))
            for row_id in missing - {event.row_id for event in ended if event.verb == "deleted"}:
                wrong = Misfit(Reason.ROW_GONE, "its events tell of it, and it is not there")
                self.findings.add(_row_finding(table, row_id, wrong, births[row_id].agent_id))

    async def _table(self, table: str) -> None:
        after: UUID | None = None
        while page := await self.books.rows(table, after, ROWS_A_PAGE):
            ids = [row_id for row_id, _ in page]
            told: dict[UUID, list[Event]] = defaultdict(list)
            for event in await self.books.events_of(table, ids):
                told[event.row_id].append(event)
            for row_id, text in page:
                row = read_exactly(text)
                assert row is not None, "the database's own JSON"
                wrong = row_misfit(table, row, told_by(told[row_id]))
                if wrong is not None:
                    self.findings.add(_row_finding(table, row_id, wrong, _owner(row)))
            if table == "api_request_logs":
                for row_id in await self.books.with_other_content(ids):
                    wrong = Misfit(Reason.CONTENT_DIFFERS, "its content has not the hash that is recorded")
                    self.findings.add(_row_finding(table, row_id, wrong, None))
            after = ids[-1]
            self.rows += len(page)
            self.tell("rows", self.rows)

    async def _anchors(self, agent_id: UUID | None) -> None:
        after: UUID | None = None
        known: frozenset[Head] = frozenset()
        while page := await self.books.anchors(after, ANCHORS_A_PAGE):
            for anchor in page:
                known = await self._anchor(anchor, known, agent_id)
                self.anchors += 1
            after = page[-1].id
            self.tell("anchors", self.anchors)

    async def _anchor(self, anchor: Anchor, known: frozenset[Head], agent_id: UUID | None) -> frozenset[Head]:
        """Check the heads that the anchor before did not have; returns all of this one."""
        try:
            heads = list(heads_in(anchor.heads))
        except ValueError:
            heads = []
        if lines_of(heads) != anchor.heads or root_of(anchor.heads) != anchor.root:
            detail = f"the anchor of {anchor.created_at:%F %T} UTC has heads that are not those of its hash"
            self.findings.add(Finding(reason=Reason.ANCHOR_BROKEN, detail=detail, table="audit_anchors"))
            return known
        if anchor.status is AnchorState.FINALIZED:
            self.newest = anchor
        fresh = [head for head in heads if head not in known and agent_id in (None, head.agent_id)]
        for start in range(0, len(fresh), HASHES_A_QUESTION):
            part = fresh[start : start + HASHES_A_QUESTION]
            hashes = await self.books.hashes_at(part)
            for head in part:
                found = hashes.get((head.agent_id, head.seq))
                if found != head.hash:
                    self.findings.add(_not_in_chain(anchor, head, found))
        return frozenset(heads)


def _not_in_chain(anchor: Anchor, head: Head, found: bytes | None) -> Finding:
    then = f"{anchor.created_at:%F %T} UTC"
    now = "there is no such event now" if found is None else f"now it is {found.hex()[:16]}…"
    detail = f"when it was anchored at {then}, event {head.seq} had hash {head.hash.hex()[:16]}…, {now}"
    return Finding(reason=Reason.ANCHOR_NOT_IN_CHAIN, detail=detail, agent_id=head.agent_id, seq=head.seq)


def _row_finding(table: str, row_id: UUID, wrong: Misfit, agent_id: UUID | None) -> Finding:
    return Finding(reason=wrong.reason, detail=wrong.detail, table=table, row_id=row_id, agent_id=agent_id)


def _owner(row: Mapping[str, Any]) -> UUID | None:
    owner = row.get("agent_id")
    return UUID(owner) if isinstance(owner, str) else None
