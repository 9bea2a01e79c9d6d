"""The ledger's proof: what an event is, when it fits its chain, and what a row's events say that it is. Pure.

Every change of a ledger's row is an event of its agent's chain: `hash = sha256(previous ‖ payload)`, where `previous`
is the hash of the event before (32 zero bytes for the first) and `payload` the bytes of a JSON object

    {"agent", "seq", "kind": "TABLE.VERB", "row", "at", "values": {column: value}}

VERB is created or adopted (all values), changed (those that changed), or deleted (the last ones). What belongs to no
agent is in the chain of the nil UUID. What must not live here: SQL, the walk itself (audit_run.py), anchors.
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
NOBODY = UUID(int=0)
BIRTHS = ("created", "adopted")
ANY_CHAIN = "counterparties"
"""A payee belongs to no agent, and is told in the chain of whoever paid it first."""


class Event(Value):
    """One change of one row, as it is stored."""

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
        """Whose row it is about."""
        return self.kind.partition(".")[0]

    @property
    def verb(self) -> str:
        """What happened to the row."""
        return self.kind.partition(".")[2]


class Head(Value):
    """The newest event of a chain, as its head's row has it."""

    agent_id: UUID
    seq: int
    hash: bytes


class Reason(StrEnum):
    """What does not fit."""

    EVENTS_MISSING = "events_missing"
    EVENT_NOT_LINKED = "event_not_linked"
    HASH_DIFFERS = "hash_differs"
    PAYLOAD_DIFFERS = "payload_differs"
    HEAD_DIFFERS = "head_differs"
    HEAD_MISSING = "head_missing"
    ROW_DIFFERS = "row_differs"
    ROW_UNTOLD = "row_untold"
    ROW_GONE = "row_gone"
    CONTENT_DIFFERS = "content_differs"
    TRIGGER_MISSING = "trigger_missing"
    ANCHOR_BROKEN = "anchor_broken"
    ANCHOR_NOT_IN_CHAIN = "anchor_not_in_chain"
    ANCHOR_NOT_ON_CHAIN = "anchor_not_on_solana"
    ANCHOR_UNKNOWN = "anchor_unknown_here"
    PAYMENT_NOT_ON_CHAIN = "payment_not_on_solana"
    VERIFICATION_DIFFERS = "verification_differs"


class Misfit(NamedTuple):
    """Why an event does not fit where it stands."""

    reason: Reason
    detail: str


def misfit(event: Event, expected: Head) -> Misfit | None:
    """Why this cannot be the event after `expected` (the genesis has seq 0), if so."""
    if event.seq != expected.seq + 1:
        return Misfit(Reason.EVENTS_MISSING, f"event {event.seq} follows event {expected.seq}")
    if event.previous != expected.hash:
        return Misfit(Reason.EVENT_NOT_LINKED, "its previous hash is not the hash of the event before")
    if event.hash != hashlib.sha256(event.previous + event.payload).digest():
        return Misfit(Reason.HASH_DIFFERS, "its hash is not that of its payload after the event before")
    told = payload_of(event)
    if told is None:
        return Misfit(Reason.PAYLOAD_DIFFERS, "its payload cannot be read")
    stored = {"agent": str(event.agent_id), "seq": event.seq, "kind": event.kind, "row": str(event.row_id)}
    wrong = [name for name, value in stored.items() if told.get(name) != value]
    if not _same_moment(told.get("at"), event.at):
        wrong.append("at")
    return Misfit(Reason.PAYLOAD_DIFFERS, f"its payload says another {', '.join(wrong)}") if wrong else None


def genesis(agent_id: UUID) -> Head:
    """What a chain's first event follows."""
    return Head(agent_id=agent_id, seq=0, hash=GENESIS)


def payload_of(event: Event) -> dict[str, Any] | None:
    """The payload as a value, numbers exact; None when it is no JSON object."""
    return read_exactly(event.payload)


def read_exactly(text: str | bytes) -> dict[str, Any] | None:
    """A JSON object with its decimals exact; None when it is none."""
    try:
        value = json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


class Told(NamedTuple):
    """What a row's events say of it: its values, None when it is gone; the chains that say it; what is unreadable."""

    values: Mapping[str, Any] | None
    chains: frozenset[UUID]
    unreadable: bool


def told_by(events: Iterable[Event]) -> Told | None:
    """One row's events, in their order, joined; None when there is none."""
    values: dict[str, Any] = {}
    chains: set[UUID] = set()
    gone = unreadable = False
    for event in events:
        chains.add(event.agent_id)
        said = (payload_of(event) or {}).get("values")
        gone = gone or event.verb == "deleted"
        if isinstance(said, dict):
            values |= said
        else:
            unreadable = True
    return Told(None if gone else values, frozenset(chains), unreadable) if chains else None


def row_misfit(table: str, row: Mapping[str, Any], told: Told | None) -> Misfit | None:
    """How a row differs from what its events say of it, if it does."""
    if told is None:
        return Misfit(Reason.ROW_UNTOLD, "no event tells of it")
    if told.values is None:
        return Misfit(Reason.ROW_UNTOLD, "its events say that it was deleted")
    if told.unreadable:
        return Misfit(Reason.ROW_DIFFERS, "its events cannot be read")
    differing = [name for name in row if row[name] != told.values.get(name)]
    if differing:
        shown = "; ".join(
            f"{name} is {_shown(row[name])}, its events say {_shown(told.values.get(name))}" for name in differing[:3]
        )
        more = f"; and {len(differing) - 3} more" if len(differing) > 3 else ""
        return Misfit(Reason.ROW_DIFFERS, shown + more)
    if table != ANY_CHAIN and told.chains != {_chain_of(table, row)}:
        return Misfit(Reason.ROW_DIFFERS, "another agent's chain tells of it")
    return None


def _chain_of(table: str, row: Mapping[str, Any]) -> UUID:
    owner = row["id"] if table == "agents" else row.get("agent_id")
    return UUID(owner) if owner is not None else NOBODY


def _same_moment(told: object, at: datetime) -> bool:
    try:
        return isinstance(told, str) and datetime.fromisoformat(told) == at
    except (ValueError, TypeError):
        return False


def _shown(value: object) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 100 else text[:100] + "…"
