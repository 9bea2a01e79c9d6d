"""Audit events: what an event is, whether it follows the one before, and whether a row is what its events add up to.

Every change of a ledger's row is an event of its agent's chain: `hash = sha256(previous ‖ payload)`, where `previous`
is the hash of the event before (32 zero bytes for the first) and `payload` the bytes of a JSON object

    {"agent", "seq", "kind": "TABLE.VERB", "row", "at", "values": {column: value}}

VERB is created or adopted (all values), changed (those that changed), or deleted (the last ones). Events of rows that
belong to no agent are in the chain of the nil UUID.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from autopay.domain.values import Value

GENESIS = bytes(32)
NO_AGENT = UUID(int=0)
CREATION_VERBS = ("created", "adopted")
TABLE_IN_ANY_CHAIN = "counterparties"
"""A payee belongs to no agent: its events are in the chain of the agent that paid it first."""


class Event(Value):
    """One change of one row, as the ledger stores it."""

    agent_id: UUID
    seq: int
    kind: str
    row_id: UUID
    at: datetime
    previous: bytes
    payload: bytes
    hash: bytes

    @property
    def table(self) -> str:
        """The table of the row that changed."""
        return self.kind.partition(".")[0]

    @property
    def verb(self) -> str:
        """What happened to the row: created, adopted, changed or deleted."""
        return self.kind.partition(".")[2]


class Head(Value):
    """The newest event of a chain, as the table of heads has it."""

    agent_id: UUID
    seq: int
    hash: bytes


class MismatchReason(StrEnum):
    """What is wrong with an event, a row, a trigger, an anchor or a payment."""

    EVENTS_MISSING = "events_missing"
    EVENT_NOT_LINKED = "event_not_linked"
    HASH_DIFFERS = "hash_differs"
    PAYLOAD_DIFFERS = "payload_differs"
    HEAD_DIFFERS = "head_differs"
    HEAD_MISSING = "head_missing"
    ROW_DIFFERS = "row_differs"
    ROW_WITHOUT_EVENTS = "row_untold"
    ROW_MISSING = "row_gone"
    CONTENT_DIFFERS = "content_differs"
    TRIGGER_MISSING = "trigger_missing"
    COUNTER_DIFFERS = "counter_differs"
    ANCHOR_BROKEN = "anchor_broken"
    ANCHOR_NOT_IN_CHAIN = "anchor_not_in_chain"
    ANCHOR_NOT_ON_CHAIN = "anchor_not_on_solana"
    ANCHOR_UNKNOWN = "anchor_unknown_here"
    PAYMENT_NOT_ON_CHAIN = "payment_not_on_solana"
    VERIFICATION_DIFFERS = "verification_differs"


class Mismatch(NamedTuple):
    """What is wrong, and a sentence about it for people."""

    reason: MismatchReason
    detail: str


def event_mismatch(event: Event, last: Head) -> Mismatch | None:
    """Why this event does not follow `last` (for a chain's first event: `genesis`); None when it does."""
    if event.seq != last.seq + 1:
        return Mismatch(MismatchReason.EVENTS_MISSING, f"event {event.seq} follows event {last.seq}")
    if event.previous != last.hash:
        return Mismatch(MismatchReason.EVENT_NOT_LINKED, "its previous hash is not the hash of the event before")
    if event.hash != hashlib.sha256(event.previous + event.payload).digest():
        return Mismatch(MismatchReason.HASH_DIFFERS, "its hash is not that of its payload after the event before")
    payload = payload_of(event)
    if payload is None:
        return Mismatch(MismatchReason.PAYLOAD_DIFFERS, "its payload cannot be read")
    stored = {"agent": str(event.agent_id), "seq": event.seq, "kind": event.kind, "row": str(event.row_id)}
    wrong = [name for name, value in stored.items() if payload.get(name) != value]
    if not _is_same_time(payload.get("at"), event.at):
        wrong.append("at")
    return Mismatch(MismatchReason.PAYLOAD_DIFFERS, f"its payload says another {', '.join(wrong)}") if wrong else None


def genesis(agent_id: UUID) -> Head:
    """What the first event of a chain follows: seq 0, 32 zero bytes."""
    return Head(agent_id=agent_id, seq=0, hash=GENESIS)


def payload_of(event: Event) -> dict[str, Any] | None:
    """The payload as a dictionary, with exact decimals; None when it is not a JSON object."""
    return parse_exact_json(event.payload)


def parse_exact_json(text: str | bytes) -> dict[str, Any] | None:
    """The text as a dictionary, with exact decimals; None when it is not a JSON object."""
    try:
        value = json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


class ReplayedRow(NamedTuple):
    """A row as its events add up to it.

    `values` is None when the row was deleted; `chains` are those that the events are in; `unreadable` is set when the
    payload of an event could not be read.
    """

    values: Mapping[str, Any] | None
    chains: frozenset[UUID]
    unreadable: bool


def replay(events: Iterable[Event]) -> ReplayedRow | None:
    """The row that these events add up to, given in their order; None without an event."""
    values: dict[str, Any] = {}
    chains: set[UUID] = set()
    deleted = unreadable = False
    for event in events:
        chains.add(event.agent_id)
        changed = (payload_of(event) or {}).get("values")
        deleted = deleted or event.verb == "deleted"
        if isinstance(changed, dict):
            values |= changed
        else:
            unreadable = True
    return ReplayedRow(None if deleted else values, frozenset(chains), unreadable) if chains else None


def row_mismatch(table: str, row: Mapping[str, Any], replayed: ReplayedRow | None) -> Mismatch | None:
    """How a row differs from what its events add up to; None when it does not."""
    if replayed is None:
        return Mismatch(MismatchReason.ROW_WITHOUT_EVENTS, "it has no events")
    if replayed.values is None:
        return Mismatch(MismatchReason.ROW_WITHOUT_EVENTS, "its events say that it was deleted")
    if replayed.unreadable:
        return Mismatch(MismatchReason.ROW_DIFFERS, "its events cannot be read")
    differing = [name for name in row if row[name] != replayed.values.get(name)]
    if differing:
        shown = "; ".join(
            f"{name} is {_shown(row[name])}, its events say {_shown(replayed.values.get(name))}"
            for name in differing[:3]
        )
        more = f"; and {len(differing) - 3} more" if len(differing) > 3 else ""
        return Mismatch(MismatchReason.ROW_DIFFERS, shown + more)
    if table != TABLE_IN_ANY_CHAIN and replayed.chains != {_chain_of(table, row)}:
        return Mismatch(MismatchReason.ROW_DIFFERS, "its events are in another agent's chain")
    return None


def _chain_of(table: str, row: Mapping[str, Any]) -> UUID:
    owner = row["id"] if table == "agents" else row.get("agent_id")
    return UUID(owner) if owner is not None else NO_AGENT


def _is_same_time(text: object, at: datetime) -> bool:
    try:
        return isinstance(text, str) and datetime.fromisoformat(text) == at
    except (ValueError, TypeError):
        return False


def _shown(value: object) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 100 else text[:100] + "…"
